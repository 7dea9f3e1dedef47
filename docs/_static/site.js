// What scrolls can be scrolled by keyboard, and what opens says what it opens.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".bd-article table, .bd-article pre")) {
    box.tabIndex = 0;
  }
  for (const toggle of document.querySelectorAll("summary:has(.toctree-toggle)")) {
    const page = toggle.closest("li")?.querySelector("a")?.textContent.trim() ?? "this page";
    toggle.setAttribute("aria-label", `Pages below ${page}`);
  }
});
