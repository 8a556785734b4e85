// Draws the pipe downwards where a chamber would be narrower than 150 px. Runs before the first paint.
(() => {
  const pipe = document.getElementById("pipe");
  if (!pipe) return;
  const fixed = 118 + 62 + 34 * 4;
  const fit = () => {
    const units = Number(pipe.dataset.units || 3.5);
    pipe.classList.toggle("down", (pipe.parentElement.clientWidth - fixed) / units < 150);
  };
  fit();
  new ResizeObserver(fit).observe(pipe.parentElement);
})();
