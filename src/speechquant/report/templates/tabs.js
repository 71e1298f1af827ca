// One layer at a time, chosen by click or keyboard (WAI-ARIA pattern "tabs", automatic activation).
(() => {
  "use strict";
  const list = document.querySelector("[role=tablist]");
  if (!list) return;
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
  const choose = (index, focus) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === index);
      tab.tabIndex = i === index ? 0 : -1;
      panels[i].hidden = i !== index;
    });
    if (focus) tabs[index].focus();
  };
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target.closest("[role=tab]"));
    const ends = { Home: 0, End: tabs.length - 1 };
    const next = event.key in steps ? (at + steps[event.key] + tabs.length) % tabs.length : ends[event.key];
    if (at < 0 || next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(next, true);
  });
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tabs.indexOf(tab), false);
  });
  choose(Math.max(0, panels.findIndex((panel) => panel.classList.contains("featured"))), false);
})();
