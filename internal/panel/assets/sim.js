// What the simulator's page does by itself: tabs, the way back from an opened
// app, following a conversation to its end, and the drawer. What changes comes
// from the server, by htmx.
"use strict";

const select = (tab, focus) => {
  const list = tab.closest("[data-tabs]");
  const panes = list.classList.contains("sim-panes");
  for (const other of list.querySelectorAll("[role=tab]")) {
    const on = other === tab;
    other.setAttribute("aria-selected", String(on));
    other.tabIndex = on ? 0 : -1;
    const panel = document.getElementById(other.getAttribute("aria-controls"));
    if (!panel) continue;
    if (panes) {
      panel.toggleAttribute("data-on", on);
      panel.toggleAttribute("data-off", !on);
    } else {
      panel.hidden = !on;
    }
    if (on) for (const talk of panel.querySelectorAll("[data-follow]")) follow(talk);
  }
  delete tab.dataset.new;
  if (focus) tab.focus();
};

const follow = (talk) => { talk.scrollTop = talk.scrollHeight; };
const atEnd = (talk) => talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;

const closeStage = (id) => {
  const stage = document.getElementById(id);
  if (!stage || !stage.firstElementChild) return;
  stage.replaceChildren();
  stage.closest(".phone")?.querySelector(".phone-tabs [aria-selected=true]")?.focus();
};

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[data-tabs] [role=tab]");
  if (tab) {
    const phone = tab.closest(".phone");
    if (phone) phone.querySelector(".stage")?.replaceChildren();
    select(tab);
    return;
  }
  const back = event.target.closest("[data-back]");
  if (back) return closeStage(back.dataset.back);
  const dialog = event.target.closest("[data-dialog]");
  if (dialog) {
    document.getElementById(dialog.dataset.dialog).showModal();
    if (dialog.dataset.goto) document.getElementById(dialog.dataset.goto).focus();
    return;
  }
  const close = event.target.closest("[data-close]");
  if (close) return document.getElementById(close.dataset.close).close();
  if (event.target.matches("dialog.drawer")) return event.target.close(); // beside it
  const empty = event.target.closest("[data-empty]");
  if (empty) document.getElementById(empty.dataset.empty).replaceChildren();
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest("[data-tabs] [role=tab]");
  if (tab) {
    const tabs = [...tab.closest("[data-tabs]").querySelectorAll("[role=tab]")];
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = document.dir === "rtl" ? "ArrowRight" : "ArrowLeft";
    const step = { [forward]: 1, [backward]: -1 }[event.key];
    const to = step ? tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length] : { Home: tabs[0], End: tabs.at(-1) }[event.key];
    if (to) { event.preventDefault(); select(to, true); }
    return;
  }
  if (event.target.matches("[data-send]") && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (event.target.value.trim()) event.target.form.requestSubmit();
    return;
  }
  if (event.key === "Escape") {
    const stage = event.target.closest(".phone")?.querySelector(".stage");
    if (stage) closeStage(stage.id);
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.submit();
  if (event.target.matches("[data-filter]")) document.getElementById("wire-list").dataset.only = event.target.dataset.filter;
});

// A form that was taken is emptied; one that was refused keeps what was written.
document.addEventListener("htmx:after:request", (event) => {
  const ctx = event.detail?.ctx;
  const form = event.target.closest?.("form[data-reset]");
  if (form && ctx?.response && ctx.response.raw.ok) { form.reset(); form.querySelector("[data-send]")?.focus(); }
});

// Conversations that stand at their end stay there, and what comes to a tab that
// is not seen is marked on it.
const watch = () => {
  const marks = new MutationObserver((changes) => {
    const seen = new Set();
    for (const { target, addedNodes } of changes) {
      const list = target.closest?.(".talk, .notes, .wire-list");
      if (!list || seen.has(list) || ![...addedNodes].some((n) => n.matches?.(".bubble, .note, .x"))) continue;
      seen.add(list);
      const panel = list.closest(".panel, .wire");
      for (const tab of document.querySelectorAll(`[aria-controls="${panel.id}"]`)) {
        if (tab.getAttribute("aria-selected") !== "true") tab.dataset.new = "";
      }
      const keep = list.matches(".wire-list") ? 200 : 0;
      while (keep && list.children.length > keep) list.lastElementChild.remove();
    }
  });
  for (const list of document.querySelectorAll(".talk, .notes, .wire-list")) {
    marks.observe(list, { childList: true });
  }
  for (const talk of document.querySelectorAll("[data-follow]")) {
    follow(talk);
    let stay = true;
    talk.addEventListener("scroll", () => { stay = atEnd(talk); }, { passive: true });
    new MutationObserver(() => { if (stay) follow(talk); }).observe(talk, { childList: true, subtree: true });
  }
};

document.addEventListener("htmx:after:swap", () => {
  for (const mark of document.querySelectorAll("[data-select]")) {
    const tab = document.getElementById(mark.dataset.select);
    mark.remove();
    if (tab) select(tab, true);
  }
});

// An app that sends its user back does so to a page of ours in its frame.
window.addEventListener("message", (event) => {
  if (event.origin === location.origin && event.data?.wentBack) closeStage(`${event.data.wentBack}-stage`);
});

document.addEventListener("DOMContentLoaded", () => {
  const back = document.querySelector("[data-went-back]");
  if (back) {
    if (window.parent !== window) window.parent.postMessage({ wentBack: back.dataset.wentBack }, location.origin);
    return;
  }
  watch();
});
