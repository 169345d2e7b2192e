// Small comforts on every page; each page is whole without them.

// Day before month in English too, as the server writes it.
const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
const moment = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric" });
const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });

// The server writes moments in UTC and says so; here they become the reader's own.
for (const [kind, format] of [["data-moment", moment], ["data-day", day], ["data-hour", hour]]) {
  for (const element of document.querySelectorAll(`time[${kind}]`)) {
    const at = new Date(element.dateTime);
    if (!Number.isNaN(at.getTime())) element.textContent = format.format(at);
  }
}

// A form sent twice by an impatient finger does its work once.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// The whole record, or a choice: what is ticked is not sent along with "the whole record".
for (const box of document.querySelectorAll(".which")) {
  const settle = () => {
    const whole = box.querySelector("input[value=whole]").checked;
    for (const tick of box.querySelectorAll("input[name=study]")) tick.disabled = whole;
  };
  box.addEventListener("change", settle);
  window.addEventListener("pageshow", settle);
}

// After a form came back with errors, begin where the first one is.
document.querySelector(".summary-of-errors a, [aria-invalid=true]")?.focus();

// A thumbnail that cannot be made leaves the modality's name in its place.
const gone = (image) => {
  const words = document.createElement("span");
  words.textContent = image.closest("[data-modality]")?.dataset.modality ?? "";
  image.replaceWith(words);
};
for (const image of document.querySelectorAll(".thumb img")) {
  if (image.complete && image.naturalWidth === 0 && image.src) gone(image);
  else image.addEventListener("error", () => gone(image), { once: true });
}
