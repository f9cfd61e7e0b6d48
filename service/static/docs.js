// Shows /openapi.json as a page. All text is inserted as text, never as HTML.

const METHODS = ["get", "post", "put"];

/** Make an element from a tag, attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Make a table from a caption, column titles and rows; returns "" without rows. */
function table(caption, titles, rows) {
  if (!rows.length) return "";
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, ...[cell].flat()))));
  const whole = element(
    "table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body),
  );
  return element("div", { class: "scroll" }, whole);
}

/** Describe a schema's type as text, with links to the schemas that it names. */
function kind(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [element("a", { href: `#${name}` }, name)];
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((choice, index) => [index ? " or " : "", ...kind(choice)]);
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" or ")];
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.type === "array") return ["list of ", ...kind(schema.items)];
  if (schema.properties) {
    const fields = Object.entries(schema.properties);
    return fields.flatMap(([name, field], index) => [index ? ", " : "", `${name}: `, ...kind(field)]);
  }
  const detail = schema.contentEncoding ?? schema.format;
  const range = "minimum" in schema && "maximum" in schema ? `, ${schema.minimum} to ${schema.maximum}` : "";
  return [`${schema.type ?? "anything"}${detail ? ` (${detail})` : ""}${range}`];
}

/** Describe each media type of a body and its schema. */
function bodies(content = {}) {
  return Object.entries(content).flatMap(([type, { schema }], index) => [
    ...(index ? [element("br")] : []), element("code", {}, type), " ", ...kind(schema),
  ]);
}

function operation(path, method, described) {
  const parameters = (described.parameters ?? []).map(({ name, in: place, required, description, schema }) => [
    element("code", {}, name), place, required ? "yes" : "no", kind(schema),
    "default" in schema ? JSON.stringify(schema.default) : "", description ?? "",
  ]);
  const sent = Object.entries(described.requestBody?.content ?? {}).map(([type, { schema }]) => [
    element("code", {}, type), kind(schema),
  ]);
  const answers = Object.entries(described.responses).map(([status, { description, content }]) => [
    status, description, bodies(content),
  ]);
  const messages = described["x-messages"] ? [["text message", kind(described["x-messages"])]] : [];
  return element(
    "section", { id: `${method}-${path}` },
    element("h3", {}, element("code", {}, `${method.toUpperCase()} ${path}`), ` ${described.summary}`),
    element("p", {}, described.description ?? ""),
    table("Parameters", ["name", "in", "required", "type", "default", "meaning"], parameters),
    table("Body", ["Content-Type", "type"], sent),
    table("Answers", ["status", "meaning", "body"], answers),
    table("Messages", ["kind", "type"], messages),
  );
}

function schema(name, described) {
  const required = described.required ?? [];
  const fields = Object.entries(described.properties ?? {}).map(([field, inner]) => [
    element("code", {}, field), kind(inner), required.includes(field) ? "yes" : "no", inner.description ?? "",
  ]);
  return element(
    "section", { id: name },
    element("h3", {}, element("code", {}, name)),
    element("p", {}, described.description ?? ""),
    table("Fields", ["name", "type", "always present", "meaning"], fields),
  );
}

function show(main, api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => method in methods).map((method) => [path, method, methods[method]]));
  const links = operations.map(([path, method, { summary }]) => element(
    "li", {}, element("a", { href: `#${method}-${path}` }, element("code", {}, `${method.toUpperCase()} ${path}`)),
    ` ${summary}`,
  ));
  main.append(
    element("p", {}, api.info.description),
    element("p", {}, `Version ${api.info.version}. For programs: `, element("a", { href: "openapi.json" }, "openapi.json")),
    element("nav", { "aria-label": "Addresses" }, element("ul", {}, ...links)),
    element("h2", {}, "Addresses"),
    ...operations.map((each) => operation(...each)),
    element("h2", {}, "Schemas"),
    ...Object.entries(api.components.schemas).map((each) => schema(...each)),
  );
}

const main = document.getElementById("document");
try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`the service answered ${response.status}`);
  show(main, await response.json());
} catch (error) {
  main.append(element("p", { role: "alert" }, `The API description cannot be shown: ${error.message}. Reload the page.`));
}
main.removeAttribute("aria-busy");
