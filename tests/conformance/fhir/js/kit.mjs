// fhir-kit-client does what an app would do with it, and says what it saw.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, baseUrl, token, patient] = process.argv.slice(2);
const kit = await import(pathToFileURL(path.join(modules, "fhir-kit-client/dist/index.js")));
const Client = kit.default?.default ?? kit.default ?? kit.Client;
const client = new Client({ baseUrl, bearerToken: token });

const observation = (value) => ({
  resourceType: "Observation",
  status: "final",
  code: { text: "test" },
  subject: { reference: `Patient/${patient}` },
  valueString: value,
});

const capabilities = await client.capabilityStatement();
const one = await client.read({ resourceType: "Patient", id: patient });
const studies = await client.resourceSearch({
  resourceType: "ImagingStudy",
  searchParams: { patient, _include: "ImagingStudy:endpoint" },
});
const endpoint = await client.resolve({
  reference: studies.entry[0].resource.endpoint[0].reference,
  context: studies,
});
let made;
for (const value of ["a", "b", "c"]) {
  made = await client.create({ resourceType: "Observation", body: observation(value) });
}
const first = await client.resourceSearch({
  resourceType: "Observation",
  searchParams: { patient, _count: 2 },
});
const second = await client.nextPage({ bundle: first });
const updated = await client.update({
  resourceType: "Observation",
  id: made.id,
  body: { ...made, status: "amended" },
});
const patched = await client.patch({
  resourceType: "Observation",
  id: made.id,
  jsonPatch: [{ op: "replace", path: "/status", value: "final" }],
});
const batch = await client.batch({
  body: {
    resourceType: "Bundle",
    type: "batch",
    entry: [
      { request: { method: "GET", url: `Patient/${patient}` } },
      { request: { method: "GET", url: `Observation?patient=${patient}` } },
    ],
  },
});
let missing;
try {
  await client.read({ resourceType: "Observation", id: "unknown" });
} catch (error) {
  missing = error.response.status;
}
console.log(
  JSON.stringify({
    version: capabilities.fhirVersion,
    name: one.name[0].family,
    studies: studies.entry.filter((each) => each.search.mode === "match").length,
    endpoint: endpoint.connectionType.code,
    pages: [first.entry.length, second.entry.length],
    updated: updated.status,
    patched: patched.status,
    batch: batch.entry.length,
    missing,
  }),
);
