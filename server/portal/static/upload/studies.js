// The studies on a disc: files gathered by person and study, set against the profile.
//
// The rule of "differs" is the server's (it decides again): both sides have a value, and family plus first given name
// (folded) or the birth date disagree.

/** Letters only, without accents and case: "MÜLLER^Jörg" and "Muller^Jorg" are the same person. */
export function folded(words) {
  return words.normalize("NFKD").replace(/\p{M}/gu, "").replace(/ß/g, "ss").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
}

// "Family^Given^Middle^Prefix" (PS3.5, 6.2.1.2), one for each writing of the name.
function claimedNames(value) {
  return (value || "").split("=").map((group) => group.split("^").map(folded))
    .map(([family = "", given = ""]) => ({ family, given: given.split(" ")[0] })).filter(said);
}

// FHIR HumanName.
function profileNames(names) {
  return (names ?? []).map((name) => {
    const family = folded(name.family ?? "");
    // JSON has null where a given name has extensions only (R4, 2.6.2.3).
    const given = (name.given ?? []).filter(Boolean).flatMap((each) => folded(each).split(" "))[0] ?? "";
    return family || given ? { family, given } : { family: folded(name.text ?? ""), given: "" };
  }).filter(said);
}

function said({ family, given }) {
  return Boolean(family || given);
}

function sameName(one, other) {
  if (one.family === other.family) return one.given === other.given || !one.given || !other.given;
  const words = ({ family, given }) => [...new Set(`${family} ${given}`.split(" ").filter(Boolean))].sort().join(" ");
  return words(one) === words(other); // in one field, their order is not known
}

/** "Doe^Jane^^Dr" as a person would write it. */
export function readableName(value) {
  const parts = (value || "").split("=").find((group) => group.replace(/\^/g, "").trim()) ?? "";
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = parts.split("^").map((part) => part.trim());
  return [prefix, given, middle, family, suffix].filter(Boolean).join(" ");
}

/** What disagrees between a header and the profile: a list of "name" and "birthDate". */
export function differences(header, profile) {
  const found = [];
  const claimed = claimedNames(header.name);
  const known = profileNames(profile.names);
  if (claimed.length && known.length && !claimed.some((one) => known.some((other) => sameName(one, other)))) found.push("name");
  const birth = (header.birthDate ?? "").replace(/\D/g, "");
  const profileBirth = (profile.birthDate ?? "").replace(/\D/g, ""); // may be a year or a month only
  if (birth && profileBirth && !birth.startsWith(profileBirth)) found.push("birthDate");
  return found;
}

// By its UID: what it is called, and how many images of it are on the disc.
function addSeries(series, header) {
  const uid = header.series ?? "";
  const one = series.get(uid) ?? { description: "", modality: header.modality ?? "", number: Number(header.seriesNumber) || 0, images: 0 };
  one.description ||= header.seriesDescription ?? "";
  one.images += 1;
  series.set(uid, one);
}

/** Gathers classified files; `studies()` gives them by person and study. */
export class Disc {
  constructor(profile) {
    this.profile = profile;
    this.byStudy = new Map();
    this.unsure = [];
    this.left = new Map();
    this.sops = new Set();
    this.scanned = 0;
    this.directories = 0;
    this.listed = 0; // images that the disc's own list names
  }

  add(file, found) {
    this.scanned += 1;
    if (found.kind === "directory") {
      this.directories += 1;
      this.listed += found.listed ?? 0;
      this.leaveOut("directory");
    } else if (found.kind === "other") this.leaveOut(found.reason);
    else if (!found.header) this.unsure.push({ file });
    else this.addImage(file, found.header);
  }

  addImage(file, header) {
    const twin = `${header.sop} ${file.size}`;
    if (this.sops.has(twin)) {
      this.leaveOut("twice");
      return;
    }
    this.sops.add(twin);
    // A study of one UID under two names on one disc is two rows: a person must be able to say "not mine" to one.
    const key = `${header.study}\n${header.name ?? ""}\n${header.birthDate ?? ""}`;
    let study = this.byStudy.get(key);
    if (!study) {
      study = { key, uid: header.study, name: header.name ?? "", birthDate: header.birthDate ?? "", date: header.date ?? "",
        description: "", place: header.place ?? "", modalities: new Set(), series: new Map(), files: [], bytes: 0,
        differs: differences(header, this.profile), choice: null };
      study.choice = study.differs.length ? null : "mine";
      this.byStudy.set(key, study);
    }
    study.description ||= header.description ?? "";
    study.place ||= header.place ?? "";
    if (header.modality) study.modalities.add(header.modality);
    addSeries(study.series, header);
    study.files.push({ file, sop: header.sop });
    study.bytes += file.size;
  }

  leaveOut(reason) {
    this.left.set(reason, (this.left.get(reason) ?? 0) + 1);
  }

  /** By person, then newest first; what differs from the profile comes first, since it needs an answer. */
  studies() {
    return [...this.byStudy.values()].sort((one, two) => two.differs.length - one.differs.length
      || one.name.localeCompare(two.name) || two.date.localeCompare(one.date));
  }

  /** Everything that is DICOM, also what lies on the disc twice. */
  onDisc() {
    return this.images() + this.unsure.length + (this.left.get("twice") ?? 0);
  }

  images() {
    return [...this.byStudy.values()].reduce((sum, study) => sum + study.files.length, 0);
  }
}
