// A JSON Schema as people read it: the shape of the value, with what is said of it beside.

/** Text of several lines. `resolve` follows a $ref. */
export function outline(schema, resolve, indent = "") {
  const shape = schema.$ref ? resolve(schema.$ref) : schema;
  const inner = `${indent}  `;
  const kinds = [shape.type ?? []].flat();
  if (shape.enum) return shape.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in shape) return JSON.stringify(shape.const);
  if (shape.anyOf) return shape.anyOf.map((choice) => outline(choice, resolve, indent)).join(" or ");
  if (shape.prefixItems) return `[${shape.prefixItems.map((item) => outline(item, resolve, indent)).join(", ")}]`;
  if (kinds.includes("array")) return `[${outline(shape.items ?? {}, resolve, indent)}, ...]`;
  if (!kinds.includes("object")) return kinds.join(" or ") || "any";
  const required = new Set(shape.required);
  const members = Object.entries(shape.properties ?? {}).map(([name, member]) => {
    const optional = required.has(name) ? "" : "?";
    return `${inner}${JSON.stringify(name)}${optional}: ${outline(member, resolve, inner)}${remark(member, resolve)}`;
  });
  if (typeof shape.additionalProperties === "object") {
    members.push(`${inner}NAME: ${outline(shape.additionalProperties, resolve, inner)}`);
  }
  return members.length ? `{\n${members.join("\n")}\n${indent}}` : "{}";
}

function remark(schema, resolve) {
  const said = schema.description ?? (schema.$ref ? resolve(schema.$ref).description : "");
  return said ? `  // ${said}` : "";
}
