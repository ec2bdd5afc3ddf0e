// What the pages do by themselves: copy, ask before something is taken away,
// choose all rows, and keep a live list short. Everything else is plain HTML
// and htmx.
"use strict";

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const source = copy.dataset.copy || document.getElementById(copy.dataset.copyFrom)?.textContent || "";
    try {
      await navigator.clipboard.writeText(source);
    } catch {
      // Without https a page has no clipboard: the old way.
      const area = document.createElement("textarea");
      area.value = source;
      area.className = "offscreen";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    copy.classList.add("done");
    const label = copy.querySelector(".copy-label");
    if (label && copy.dataset.copied) {
      const before = label.textContent;
      label.textContent = copy.dataset.copied;
      setTimeout(() => { label.textContent = before; copy.classList.remove("done"); }, 1500);
    } else {
      setTimeout(() => copy.classList.remove("done"), 1500);
    }
    return;
  }
  const all = event.target.closest("[data-check-all]");
  if (all) {
    for (const box of document.querySelectorAll(`input[type=checkbox][name="${all.dataset.checkAll}"]`)) box.checked = all.checked;
    return;
  }
  const hold = event.target.closest("[data-hold]");
  if (hold) {
    const list = document.getElementById(hold.dataset.hold);
    const held = list.toggleAttribute("data-held");
    hold.setAttribute("aria-pressed", String(held));
    hold.textContent = held ? hold.dataset.on : hold.dataset.off;
  }
});

document.addEventListener("submit", (event) => {
  const words = event.submitter?.dataset.confirm || event.target.dataset.confirm;
  if (words && !window.confirm(words)) event.preventDefault();
});

// A live list keeps its newest rows, as many as data-keep says; one that is held
// takes no new ones.
document.addEventListener("htmx:sse:before:message", (event) => {
  if (event.target.closest?.("[data-held]")) event.preventDefault();
});
document.addEventListener("htmx:sse:after:message", (event) => {
  const list = event.target.closest?.("[data-keep]");
  if (!list) return;
  while (list.children.length > Number(list.dataset.keep)) list.lastElementChild.remove();
});

// A form says at once that it is being sent, and is not sent twice.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; setTimeout(() => { button.disabled = false; }, 4000); });
});
