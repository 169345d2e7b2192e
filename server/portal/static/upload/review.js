// The table of studies found: whose they are, what they are, and "mine" or "not mine".

import { readableName } from "./studies.js";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export class ReviewTable {
  constructor(body, disc, words, onChoice) {
    this.body = body;
    this.disc = disc;
    this.words = words;
    this.onChoice = onChoice;
  }

  /** Answer for every study that asks. */
  answerAll(choice) {
    for (const study of this.disc.studies()) if (study.differs.length && study.fresh.length) study.choice = choice;
    this.draw();
    this.onChoice();
  }

  draw() {
    this.body.replaceChildren(...this.disc.studies().map((study, number) => this.row(study, number)));
  }

  row(study, number) {
    const { words } = this;
    const what = study.description || [...study.modalities].join(", ") || words.say("noDescription");
    const title = element("th", { scope: "row" }, what, element("div", { class: "quiet small" },
      [...study.modalities].join(", "), study.place ? ` · ${study.place}` : ""), this.series(study));
    return element("tr", { class: study.differs.length && study.fresh.length ? "differs" : null },
      title,
      element("td", { "data-label": words.say("date") }, words.day(study.date) || words.say("noDate")),
      element("td", { "data-label": words.say("name") }, ...this.person(study)),
      element("td", { "data-label": words.say("imagesHead"), class: "number" }, this.count(study)),
      element("td", {}, this.choice(study, number, what)));
  }

  /** What the study consists of, to be opened. */
  series(study) {
    const { words } = this;
    const listed = [...study.series.values()].sort((one, two) => one.number - two.number);
    const lines = listed.map(({ description, modality, images }) => element("li", {},
      description || modality || words.say("noDescription"), ` · ${words.say("images", { n: images })}`));
    return element("details", { class: "small series" }, element("summary", {}, words.say("series", { n: listed.length })),
      element("ul", {}, ...lines));
  }

  person(study) {
    const { words } = this;
    const name = readableName(study.name) || words.say("noName");
    const birth = words.day(study.birthDate);
    const lines = [element("div", {}, this.marked(study, "name", name))];
    if (birth) lines.push(element("div", { class: "small" }, this.marked(study, "birthDate", words.say("born", { date: birth }))));
    if (study.differs.length && study.fresh.length) {
      lines.push(element("div", { class: "small" }, words.say(study.differs.length === 2 ? "differs-both" : `differs-${study.differs[0]}`)));
    }
    return lines;
  }

  marked(study, key, text) {
    return study.differs.includes(key) && study.fresh.length ? element("strong", {}, text) : text;
  }

  count(study) {
    const { words } = this;
    if (!study.held) return words.shown(study.files.length);
    if (!study.fresh.length) return words.say("allHeld", { n: study.held });
    return words.say("someHeld", { n: study.fresh.length, held: study.held });
  }

  choice(study, number, what) {
    const { words } = this;
    if (!study.fresh.length) return element("span", { class: "tag good" }, words.say("heldTag"));
    const group = element("fieldset", { class: "whose" }, element("legend", { class: "sr-only" }, words.say("whose", { what })));
    for (const choice of ["mine", "not-mine"]) {
      const input = element("input", { type: "radio", name: `whose-${number}`, value: choice, checked: study.choice === choice });
      input.addEventListener("change", () => {
        study.choice = choice;
        this.onChoice();
      });
      group.append(element("label", {}, input, words.say(choice)));
    }
    return group;
  }
}
