// The uploader's texts, translated by the server, and numbers as people read them.

export class Words {
  constructor(texts, language) {
    this.texts = texts;
    this.plural = new Intl.PluralRules(language);
    this.number = new Intl.NumberFormat(language);
    this.short = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
    this.date = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  }

  /** The text of a key; {n} and other places filled; plural forms by n. */
  say(key, values = {}) {
    let text = this.texts[key] ?? key;
    if (typeof text === "object") text = text[this.plural.select(values.n)] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (_, name) => this.shown(values[name]));
  }

  shown(value) {
    return typeof value === "number" ? this.number.format(value) : String(value ?? "");
  }

  size(bytes) {
    if (bytes < 1_000_000) return `${this.number.format(Math.ceil(bytes / 1_000))} kB`;
    if (bytes < 1_000_000_000) return `${this.short.format(bytes / 1_000_000)} MB`;
    return `${this.short.format(bytes / 1_000_000_000)} GB`;
  }

  timeLeft(seconds) {
    if (seconds === null || !Number.isFinite(seconds)) return this.say("soonKnown");
    if (seconds < 50) return this.say("lessThanAMinute");
    if (seconds < 5400) return this.say("minutesLeft", { n: Math.max(1, Math.round(seconds / 60)) });
    return this.say("hoursLeft", { n: Math.round(seconds / 3600) });
  }

  /** "20250131" or "2025-01-31" spelled out; "" where there is no whole date. */
  day(dicomDate) {
    const digits = (dicomDate || "").replace(/\D/g, "");
    if (digits.length !== 8) return "";
    const at = new Date(Date.UTC(+digits.slice(0, 4), +digits.slice(4, 6) - 1, +digits.slice(6)));
    return Number.isNaN(at.getTime()) ? "" : this.date.format(at);
  }
}
