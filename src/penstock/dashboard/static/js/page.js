// What every page needs: theme, copying, menus, dialogs, tabs, filters, keys, messages.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
  const announce = (text) => { const at = document.getElementById("announce"); if (at) at.textContent = text; };
  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon"); svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#i-${name}`); svg.append(use);
    return svg;
  };
  window.penstock = { announce, meta, toast };

  document.addEventListener("htmx:config:request", (event) => {
    event.detail.ctx.request.headers["X-Csrf"] = meta("csrf");
  });

  // --- light and dark ---
  function switchTheme() {
    const root = document.documentElement;
    const dark = getComputedStyle(root).colorScheme === "dark" ||
      (root.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `penstock_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
    document.dispatchEvent(new Event("theme"));
    announce(`${root.dataset.theme} colours`);
  }
  document.getElementById("theme")?.addEventListener("click", switchTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));

  // --- messages ---
  function toast(text, { failed = false, undo = "" } = {}) {
    const box = document.createElement("div");
    box.className = failed ? "toast fail" : "toast";
    const said = document.createElement("p");
    said.textContent = text;
    const end = document.createElement("span");
    end.className = "end";
    if (undo) {
      const form = document.createElement("form");
      form.method = "post"; form.action = undo;
      const word = document.createElement("input");
      word.type = "hidden"; word.name = "csrf"; word.value = meta("csrf");
      const button = document.createElement("button");
      button.className = "link-button"; button.textContent = "Undo";
      form.append(word, button); end.append(form);
    }
    const close = document.createElement("button");
    close.type = "button"; close.className = "icon-button"; close.setAttribute("aria-label", "Close the message");
    close.append(icon("close")); close.addEventListener("click", () => box.remove());
    end.append(close); box.append(said, end);
    document.getElementById("toasts").append(box);
    announce(text);
    if (failed) return;
    let held = false;
    const leave = () => setTimeout(() => { if (held || box.matches(":hover, :focus-within")) leave(); else box.remove(); }, 6000);
    leave();
  }
  const news = document.getElementById("news");
  if (news) toast(news.content.textContent, { failed: news.dataset.failed === "1", undo: news.dataset.undo });

  // --- clicks ---
  async function copy(button) {
    const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    const text = from ? [...(from.rows ?? [])].map((r) => r.cells[r.cells.length - 1].textContent).join("\n") || from.textContent : button.dataset.copy;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    const label = button.querySelector("span"), before = label?.textContent;
    button.classList.add("copied");
    button.querySelector("use").setAttribute("href", "#i-tick");
    if (label) label.textContent = "Copied";
    announce("Copied");
    setTimeout(() => {
      button.classList.remove("copied");
      button.querySelector("use").setAttribute("href", "#i-copy");
      if (label) label.textContent = before;
    }, 2000);
  }
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest?.(selector);
    const button = at("[data-copy], [data-copy-from]");
    if (button) copy(button);
    const opener = at("[data-open]");
    if (opener) { all("details.menu[open]").forEach((menu) => { menu.open = false; }); document.getElementById(opener.dataset.open)?.showModal(); }
    at("[data-close]")?.closest("dialog").close();
    if (at("[data-theme-switch]")) switchTheme();
    const reveal = at("[data-reveal]");
    if (reveal) {
      const field = document.getElementById(reveal.dataset.reveal);
      field.type = field.type === "password" ? "text" : "password";
      reveal.textContent = field.type === "password" ? "Show" : "Hide";
    }
    const clear = at("[data-clear]");
    if (clear) { const field = document.getElementById(clear.dataset.clear); field.value = ""; filter(field); field.focus(); }
    all("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  document.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) event.target.form.requestSubmit(); });
  document.addEventListener("toggle", async (event) => {
    const sheet = event.target.open && event.target.querySelector?.("[data-from]");
    if (sheet && !sheet.childElementCount) {
      const got = await fetch(sheet.dataset.from, { headers: { "HX-Request": "true" } });
      sheet.innerHTML = await got.text();
    }
  }, true);

  // --- what cannot be undone asks first ---
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.confirm || form.dataset.sure) return;
    event.preventDefault();
    const dialog = document.createElement("dialog");
    const title = document.createElement("h2"), text = document.createElement("p"), row = document.createElement("div");
    const [first, ...rest] = form.dataset.confirm.split("? ");
    title.textContent = `${first}?`; title.id = "confirm-title"; text.textContent = rest.join("? "); text.className = "small soft"; row.className = "row end";
    const keep = document.createElement("button"), sure = document.createElement("button");
    keep.type = sure.type = "button"; keep.className = "button"; keep.textContent = "Keep it"; sure.className = "button danger solid"; sure.textContent = form.dataset.do;
    keep.addEventListener("click", () => dialog.close());
    sure.addEventListener("click", () => { form.dataset.sure = "1"; form.submit(); });
    dialog.addEventListener("close", () => dialog.remove());
    dialog.setAttribute("aria-labelledby", "confirm-title");
    row.append(keep, sure); dialog.append(title, text, row); document.body.append(dialog);
    dialog.showModal(); keep.focus();
  });
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.dataset.typed !== undefined) field.form.querySelector("button.danger").disabled = field.value !== field.dataset.typed;
    if (field.dataset.filter) filter(field);
  });

  // --- filtering the rows of a table that is here ---
  function filter(field) {
    const table = document.getElementById(field.dataset.filter);
    if (!table) return;
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !words.every((word) => (row.dataset.words ?? "").includes(word));
      shown += !row.hidden;
    }
    const none = document.getElementById("nothing-fits");
    if (none) { none.hidden = shown > 0 || !words.length; none.querySelector("span").textContent = field.value; }
  }
  document.addEventListener("htmx:after:swap", () => all("input[data-filter]").forEach((field) => { if (field.value) filter(field); }));

  // --- tabs inside a page ---
  for (const box of all("[data-tabs]")) setUpTabs(box);
  document.addEventListener("answered", () => all("[data-tabs]").forEach(setUpTabs));
  function setUpTabs(box) {
    if (box.dataset.ready) return;
    box.dataset.ready = "1";
    const tabs = all('[role="tab"]', box);
    const choose = (tab) => tabs.forEach((one) => {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = one !== tab;
    });
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        choose(next); next.focus(); event.preventDefault();
      });
    });
  }

  // --- go to ---
  const goto = document.getElementById("goto");
  goto?.addEventListener("focus", async () => {
    const names = document.getElementById("goto-names");
    if (names.childElementCount) return;
    for (const name of await (await fetch(`${meta("base")}/names`)).json()) {
      const option = document.createElement("option"); option.value = name; names.append(option);
    }
  });

  // --- keys ---
  const switchKeys = document.getElementById("keys-on");
  if (switchKeys) {
    switchKeys.checked = localStorage.getItem("keys") !== "off";
    switchKeys.addEventListener("change", () => localStorage.setItem("keys", switchKeys.checked ? "on" : "off"));
  }
  let pending = "";
  const go = (path) => { location.href = meta("base") + path; };
  const press = (id) => document.getElementById(id)?.click();
  function change(step) {
    const rows = all("tr.change").filter((row) => row.offsetParent);
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = rows[(at + step + rows.length) % rows.length];
    next.focus(); next.scrollIntoView({ block: "center" });
  }
  const keys = {
    "/": () => goto?.focus(), f: () => document.querySelector("input[data-filter]:not([hidden])")?.focus(),
    "[": () => press("earlier"), "]": () => press("later"), n: () => change(1), p: () => change(-1),
    l: () => press("live"), "?": () => document.getElementById("shortcuts")?.showModal(),
    "g d": () => go(""), "g r": () => go("/runs"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key === "Enter") document.getElementById("call")?.requestSubmit();
    if (event.ctrlKey || event.metaKey || event.altKey || switchKeys?.checked === false) return;
    if (event.target.closest("input, textarea, select, [contenteditable], dialog")) return;
    const typed = pending ? `${pending} ${event.key}` : event.key;
    pending = !pending && event.key === "g" ? "g" : "";
    if (keys[typed]) { event.preventDefault(); keys[typed](); }
  });
})();
