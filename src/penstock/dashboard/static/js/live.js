// Asks for new figures every two seconds, says so when none come, and tells of changes of state.
(() => {
  const button = document.getElementById("live");
  const stale = document.getElementById("stale");
  const EVERY = 2000;
  let on = button ? button.getAttribute("aria-pressed") === "true" : true;
  let last = Date.now(), busy = false;

  const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
  // A page that asks for nothing has no news to miss.
  const asks = () => document.querySelector('[hx-trigger="tick"], #charts, #waiting') !== null;
  const held = () => document.querySelector("#deployments")?.matches(":hover, :focus-within");
  const states = () => new Map([...document.querySelectorAll("#deployments tbody tr")].map((row) => [row.id.slice(4), row.querySelector(".word")?.textContent]));

  function show() {
    if (!button) return;
    button.setAttribute("aria-pressed", String(on));
    button.querySelector("use").setAttribute("href", on ? "#i-pause" : "#i-play");
    button.setAttribute("aria-label", on ? "Live, stop" : "Live is off, start");
  }
  button?.addEventListener("click", () => { on = !on; last = Date.now(); show(); });

  function tick() {
    const age = Date.now() - last;
    if (stale) {
      stale.hidden = !on || !asks() || age < 5000;
      if (age >= 10000) stale.textContent = `No connection to ${location.host} since ${clock(last)}`;
      else if (age >= 5000) stale.textContent = `From ${clock(last)}`;
    }
    if (!on || document.hidden || busy) return;
    document.querySelectorAll('[hx-trigger="tick"]').forEach((at) => at.dispatchEvent(new CustomEvent("tick")));
    document.dispatchEvent(new Event("tick"));
  }
  setInterval(tick, EVERY);

  let before = states();
  document.addEventListener("htmx:before:request", () => { busy = true; });
  document.addEventListener("htmx:finally:request", () => { busy = false; });
  // Rows stay where they are while somebody points at the table or has the focus in it.
  document.addEventListener("htmx:before:swap", (event) => {
    const ctx = event.detail?.ctx;
    if (!ctx?.text || !held()) return;
    const page = new DOMParser().parseFromString(ctx.text, "text/html");
    const body = page.querySelector("#deployments tbody");
    if (!body) return;
    const order = [...document.querySelectorAll("#deployments tbody tr")].map((row) => row.id);
    order.reverse().forEach((id) => { const row = page.getElementById(id); if (row) body.prepend(row); });
    ctx.text = page.body.innerHTML;
  });
  document.addEventListener("htmx:after:swap", () => {
    last = Date.now(); busy = false;
    const updated = document.getElementById("updated");
    if (updated) updated.textContent = clock(last);
    const now = states(), told = [];
    now.forEach((word, name) => { if (before.has(name) ? before.get(name) !== word : before.size) told.push(`${name}: ${word}`); });
    if (told.length && told.length < 6) window.penstock.announce(told.join(", "));
    before = now;
  });
  document.addEventListener("figures", () => { last = Date.now(); });

  // The empty page becomes the table when something is deployed.
  const waiting = document.getElementById("waiting");
  if (waiting) {
    document.addEventListener("tick", async () => {
      try {
        const names = await (await fetch(waiting.dataset.wait)).json();
        last = Date.now();
        if (names.length > Number(waiting.dataset.have)) location.href = window.penstock.meta("base");
      } catch { /* the line above says so after five seconds */ }
    });
  }
  show();
})();
