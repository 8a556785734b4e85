// The data of the playground as a form: a field for each place that every data point has.
// Numbers are kept as they were written, where the browser tells how: 1.0 stays 1.0, twenty digits stay twenty.
window.penstockFields = (at, form) => {
  const MOST = 200, NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
  const KINDS = { number: "a number", text: "a text", flag: "true or false", json: "JSON" };
  const make = (tag, cls, text) => { const made = document.createElement(tag); if (cls) made.className = cls; if (text) made.textContent = text; return made; };
  class Written { constructor(text) { this.text = text; } }
  const read = (text) => JSON.parse(text, (_, value, context) => (typeof value === "number" ? new Written(context?.source ?? String(value)) : value));
  const write = (value) => {
    if (value instanceof Written) return value.text;
    if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`;
    if (value && typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${write(one)}`).join(", ")}}`;
    return JSON.stringify(value);
  };
  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Written);
  const named = (field, index) => (field.name ? `“${field.name}” of data point ${index + 1}` : `data point ${index + 1}`);
  const fits = {
    number: (value) => value instanceof Written, text: (value) => typeof value === "string" && !value.includes("\r"),
    flag: (value) => typeof value === "boolean", json: () => true,
  };

  // The values of each data point, in the order of the fields; throws the reason when there is no place for something.
  function pointsOf(data) {
    const single = form.shape === "record";
    if (single !== isObject(data) || (!single && !Array.isArray(data))) throw new Error(`The form shows ${single ? "one object" : "a list"}, and this is none`);
    const points = (single ? [data] : data).map((point, index) => {
      const values = valuesOf(point, index);
      form.fields.forEach((field, place) => {
        if (!fits[field.kind](values[place])) throw new Error(`The form takes ${KINDS[field.kind]} for ${named(field, index)}, and this is none that it can show`);
      });
      return values;
    });
    if (points.length * form.fields.length > MOST) throw new Error(`The form shows at most ${MOST} fields, and these are ${points.length * form.fields.length}`);
    return points;
  }
  function valuesOf(point, index) {
    const names = form.fields.map((field) => field.name);
    if (form.shape === "values") return [point];
    if (form.shape === "rows") {
      if (!Array.isArray(point)) throw new Error(`The form takes a list for data point ${index + 1}, and this is none`);
      if (point.length !== names.length) throw new Error(`Data point ${index + 1} has ${point.length} values, the form ${names.length} fields`);
      return point;
    }
    if (!isObject(point)) throw new Error(`The form takes an object for data point ${index + 1}, and this is none`);
    const more = Object.keys(point).find((name) => !names.includes(name)), missing = names.find((name) => !Object.hasOwn(point, name));
    if (more !== undefined) throw new Error(`The form has no field for “${more}” of data point ${index + 1}`);
    if (missing !== undefined) throw new Error(`The form cannot leave out “${missing}”, which data point ${index + 1} does`);
    return names.map((name) => point[name]);
  }

  let serial = 0;
  function cell(field, value) {
    const box = make("div", `cell ${field.kind}`), id = `field-${++serial}`, label = make("label", field.name ? "" : "hidden-text", field.name || "Value");
    label.htmlFor = id;
    if (field.name && field.kind === "json") label.append(" ", make("span", "note", "JSON"));
    const control = make({ number: "input", flag: "select" }[field.kind] ?? "textarea");
    if (field.kind === "number") { control.type = "text"; control.inputMode = "decimal"; control.value = value.text; }
    else if (field.kind === "flag") { for (const word of ["true", "false"]) control.append(new Option(word)); control.value = String(value); }
    else { control.rows = 1; control.value = field.kind === "text" ? value : write(value); }
    control.id = id; control.autocomplete = "off"; control.spellcheck = false;
    box.append(label, control);
    return box;
  }
  function point(values) {
    const box = make("fieldset", "point"), title = make("legend"), away = make("button", "icon-button");
    box.append(title);
    const cells = make("div", "cells");
    cells.append(...form.fields.map((field, place) => cell(field, values[place])));
    box.append(cells);
    if (form.shape !== "record") {
      away.type = "button"; away.innerHTML = '<svg class="icon" aria-hidden="true"><use href="#i-close"/></svg>';
      away.addEventListener("click", () => { const next = box.nextElementSibling ?? box.previousElementSibling; box.remove(); number(); (next?.querySelector("input, textarea, select") ?? more).focus(); });
      box.append(away);
    }
    return box;
  }
  const list = make("div"), more = make("button", "button row", "Add a data point");
  more.type = "button"; more.hidden = form.shape === "record";
  const boxes = () => [...list.children];
  function number() {
    boxes().forEach((box, index) => {
      box.querySelector("legend").textContent = form.shape === "record" ? "data" : `Data point ${index + 1}`;
      box.querySelector(".icon-button")?.setAttribute("aria-label", `Remove data point ${index + 1}`);
    });
  }
  const blank = { number: new Written("0"), text: "", flag: false, json: null };
  more.addEventListener("click", () => {
    if ((boxes().length + 1) * form.fields.length > MOST) { window.penstock.toast(`The form shows at most ${MOST} fields. Go on as JSON.`, { failed: true }); return; }
    const last = boxes().at(-1);
    const box = point(form.fields.map((field) => blank[field.kind]));
    if (last) box.querySelectorAll(".cell :is(input, textarea, select)").forEach((to, place) => { to.value = last.querySelectorAll(".cell :is(input, textarea, select)")[place].value; });
    list.append(box); number();
    box.querySelector("input, textarea, select").focus();
  });
  at.append(list, more);

  return {
    // Show a text of JSON; throws the reason, and shows what it showed, when the form cannot express it.
    show(text) {
      let data;
      try { data = read(text); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
      list.replaceChildren(...pointsOf(data).map(point)); number();
    },
    // Return the text of JSON; throws the reason, and goes to the field, when a field holds none.
    text() {
      at.querySelectorAll("[aria-invalid]").forEach((control) => control.removeAttribute("aria-invalid"));
      const points = boxes().map((box, index) => {
        const controls = box.querySelectorAll(".cell :is(input, textarea, select)");
        const values = form.fields.map((field, place) => valueOf(field, controls[place], index));
        if (form.shape === "values") return values[0];
        if (form.shape === "rows") return values;
        return Object.fromEntries(form.fields.map((field, place) => [field.name, values[place]]));
      });
      return write(form.shape === "record" ? points[0] : points);
    },
  };
  function valueOf(field, control, index) {
    const text = control.value;
    if (field.kind === "text") return text;
    if (field.kind === "flag") return text === "true";
    try {
      if (field.kind === "json") return read(text);
      if (NUMBER.test(text.trim())) return new Written(text.trim());
    } catch { /* said below */ }
    control.setAttribute("aria-invalid", "true"); control.setAttribute("aria-describedby", "data-problem"); control.focus();
    const what = named(field, index);
    throw new Error(`${what[0].toUpperCase()}${what.slice(1)} is not ${KINDS[field.kind]}`);
  }
};
