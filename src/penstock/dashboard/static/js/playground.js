// The playground's form: files in an order of one's own, and the call as any client would make it.
(() => {
  const form = document.getElementById("call"), answer = document.getElementById("answer");
  if (!form) return;
  const list = document.getElementById("file-list"), chooser = document.getElementById("files"), drop = document.getElementById("drop");
  const data = form.elements.data, problem = document.getElementById("data-problem");
  const box = document.getElementById("fields"), fields = box && window.penstockFields(box, JSON.parse(box.dataset.form));
  const ways = { form: document.getElementById("as-form"), json: document.getElementById("as-json") };
  let files = [], way = "json";

  const size = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`);
  const make = (tag, cls, text) => { const at = document.createElement(tag); if (cls) at.className = cls; if (text) at.textContent = text; return at; };

  function show() {
    list.replaceChildren(...files.map((file, index) => {
      const row = make("li");
      row.append(make("span", "pos num", String(index + 1)));
      if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) {
        const picture = make("img", "thumb");
        picture.alt = ""; picture.src = URL.createObjectURL(file); picture.onload = () => URL.revokeObjectURL(picture.src);
        row.append(picture);
      }
      const name = make("b", "", file.name), about = make("span", "soft", `${file.type || "any bytes"}, ${size(file.size)}`);
      const end = make("span", "end"), move = make("button", "link-button small", "Move up"), away = make("button", "icon-button", "");
      move.type = away.type = "button";
      move.disabled = index === 0; move.hidden = index === 0;
      move.setAttribute("aria-label", `Move ${file.name} up`);
      move.addEventListener("click", () => { files.splice(index - 1, 0, files.splice(index, 1)[0]); show(); });
      away.setAttribute("aria-label", `Remove ${file.name}`);
      away.innerHTML = '<svg class="icon" aria-hidden="true"><use href="#i-close"/></svg>';
      away.addEventListener("click", () => { files.splice(index, 1); show(); chooser.focus(); });
      end.append(move, away); row.append(name, about, end);
      return row;
    }));
  }
  const add = (more) => { files.push(...more); show(); window.penstock.announce(`${files.length} files`); };
  chooser?.addEventListener("change", () => { add(chooser.files); chooser.value = ""; });
  drop?.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop?.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop?.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); add(event.dataTransfer.files); });

  // The text is what is sent; the form is another view of it. What one of them cannot express stays in the other.
  const say = (wrong) => {
    problem.hidden = !wrong; problem.textContent = wrong;
    data.toggleAttribute("aria-invalid", Boolean(wrong) && way === "json"); if (data.hasAttribute("aria-invalid")) data.setAttribute("aria-invalid", "true");
  };
  function turn(to) {
    let wrong = "";
    try { if (to === "form") fields.show(data.value); else if (way === "form") data.value = fields.text(); } catch (error) { wrong = error.message; }
    if (!wrong) {
      way = to; data.hidden = to === "form"; if (box) box.hidden = to === "json";
      for (const [name, button] of Object.entries(ways)) button.setAttribute("aria-pressed", String(name === way));
    }
    say(wrong);
    return wrong;
  }
  const entered = () => { try { if (way === "form") data.value = fields.text(); return ""; } catch (error) { return error.message; } };
  ways.form.addEventListener("click", () => { const wrong = way === "json" && turn("form"); if (wrong) say(`${wrong}. So it stays JSON.`); });
  ways.json.addEventListener("click", () => { const wrong = way === "form" && turn("json"); if (wrong) say(`${wrong}. Put it right before it becomes JSON.`); });
  if (fields && turn("form")) say("");

  document.getElementById("fill")?.addEventListener("click", (event) => {
    data.value = event.currentTarget.dataset.example;
    if (way === "form") turn("form");
    (way === "form" ? box.querySelector("input, textarea, select") : data).focus();
  });

  function check() {
    let wrong = entered();
    if (way === "json") try { JSON.parse(data.value); } catch (error) { wrong = `This is no JSON: ${error.message}`; }
    if (!wrong && form.elements.parameters.value) {
      try { JSON.parse(form.elements.parameters.value); } catch { wrong = "The parameters are no JSON object"; }
    }
    say(wrong);
    return !wrong;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!check()) { if (way === "json") data.focus(); return; }
    let body, kind;
    const parameters = form.elements.parameters.value.trim();
    if (files.length) {
      body = new FormData();
      body.append("data", data.value);
      if (parameters) body.append("parameters", parameters);
      for (const file of files) body.append("files", file, file.name);
    } else {
      kind = "application/json";
      body = parameters ? `{"data": ${data.value}, "parameters": ${parameters}}` : data.value;
    }
    const headers = { "X-Csrf": window.penstock.meta("csrf"), "HX-Request": "true" };
    if (kind) headers["Content-Type"] = kind;
    const slow = setTimeout(() => answer.classList.add("htmx-request"), 400);
    try {
      const got = await fetch(`${form.dataset.to}?version=${form.elements.version.value}`, { method: "POST", headers, body });
      const text = await got.text();
      if (got.headers.get("content-type")?.startsWith("text/html")) answer.innerHTML = text;
      else window.penstock.toast(text, { failed: true });
      document.dispatchEvent(new Event("answered"));
      window.penstock.announce(answer.querySelector("h2 + .state")?.textContent.trim().startsWith("200") ? "Answered" : "Answered with an error");
    } catch {
      window.penstock.toast(`No connection to ${location.host}.`, { failed: true });
    } finally { clearTimeout(slow); answer.classList.remove("htmx-request"); }
  });
})();
