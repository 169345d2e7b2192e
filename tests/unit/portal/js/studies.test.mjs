import assert from "node:assert/strict";
import { test } from "node:test";

import { Disc, differences, readableName } from "../../../../server/portal/static/upload/studies.js";

const profile = { names: [{ family: "Müller", given: ["Jörg Peter"], text: "Jörg Peter Müller" }], birthDate: "1980-02-29" };

test("the same person, however a hospital writes the name", () => {
  for (const name of ["Muller^Jorg", "MÜLLER^JÖRG^PETER", "Müller", "MULLER JORG", "", undefined]) {
    assert.deepEqual(differences({ name, birthDate: "19800229" }, profile), [], name);
  }
});

test("another name or birth date is told", () => {
  assert.deepEqual(differences({ name: "Muller^Anna", birthDate: "19800229" }, profile), ["name"]);
  assert.deepEqual(differences({ name: "Müller^Jörg", birthDate: "19800228" }, profile), ["birthDate"]);
  assert.deepEqual(differences({ name: "Doe^Jane", birthDate: "19700101" }, profile), ["name", "birthDate"]);
});

test("what one side does not say does not differ", () => {
  assert.deepEqual(differences({ name: "Doe^Jane" }, { names: [], birthDate: "" }), []);
  assert.deepEqual(differences({ name: "", birthDate: "" }, profile), []);
  assert.deepEqual(differences({ birthDate: "19800101" }, { names: [], birthDate: "1980" }), []);
  assert.deepEqual(differences({ name: "Moor^Ada" }, { names: [{ family: "Moor", given: [null] }] }), []);
});

test("a name as people write it", () => {
  assert.equal(readableName("Doe^Jane^Q^Dr^"), "Dr Jane Q Doe");
  assert.equal(readableName("=王^小東="), "小東 王");
  assert.equal(readableName(""), "");
});

test("images are gathered by study; a second copy of an image counts once", () => {
  const disc = new Disc(profile);
  const image = (sop, study, size = 10) => disc.add({ size }, { kind: "dicom", header: { sop, study, name: "Muller^Jorg", modality: "CT", date: "20240101" } });
  image("1.1", "1");
  image("1.2", "1");
  image("1.2", "1");
  image("2.1", "2");
  disc.add({ size: 3 }, { kind: "other", reason: "program" });
  disc.add({ size: 3 }, { kind: "directory" });
  disc.add({ size: 3 }, { kind: "dicom" });
  assert.equal(disc.images(), 3);
  assert.equal(disc.studies().length, 2);
  assert.equal(disc.unsure.length, 1);
  assert.deepEqual(Object.fromEntries(disc.left), { twice: 1, program: 1, directory: 1 });
  assert.ok(disc.studies().every((study) => study.choice === "mine"));
});

test("the series of a study, with their images", () => {
  const disc = new Disc(profile);
  const image = (sop, series, number, description) => disc.add({ size: 1 }, { kind: "dicom",
    header: { sop, study: "1", series, seriesNumber: number, seriesDescription: description, modality: "CT" } });
  image("1", "1.2", "2", "");
  image("2", "1.1", "1", "Scout");
  image("3", "1.2", "2", "Lung");
  assert.deepEqual([...disc.studies()[0].series.values()], [
    { description: "Lung", modality: "CT", number: 2, images: 2 }, { description: "Scout", modality: "CT", number: 1, images: 1 }]);
});

test("one study under two people on one disc is two rows", () => {
  const disc = new Disc(profile);
  disc.add({ size: 1 }, { kind: "dicom", header: { sop: "1.1", study: "1", name: "Muller^Jorg" } });
  disc.add({ size: 1 }, { kind: "dicom", header: { sop: "1.2", study: "1", name: "Doe^Jane" } });
  assert.deepEqual(disc.studies().map((study) => study.choice), [null, "mine"]);
});
