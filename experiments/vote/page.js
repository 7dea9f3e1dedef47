// Arrow keys choose. Held keys, the second half of a double click and pictures that are still loading do not answer.
(() => {
  const ready = () => performance.now() > 300 && [...document.images].every((image) => image.complete);
  addEventListener("keydown", (event) => {
    const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
    if (!side || event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    document.querySelector(`button[value=${side}]`)?.click();
  });
  addEventListener("click", (event) => {
    if (event.target.closest?.("button[name=choice]") && !ready()) event.preventDefault();
  });
})();
