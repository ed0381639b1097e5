"use strict";
// What a dot stands for: shown beside it when it is pointed at, tapped or reached by keyboard.
(() => {
  const tip = document.getElementById("tip");
  const dotOf = (event) => event.target.closest?.("[data-dot]");

  const show = (dot) => {
    tip.textContent = dot.getAttribute("aria-label");
    tip.hidden = false;
    const at = dot.getBoundingClientRect();
    const box = tip.getBoundingClientRect();
    const right = document.documentElement.clientWidth - box.width - 6;
    const left = Math.max(6, Math.min(right, at.left + at.width / 2 - box.width / 2));
    const above = at.top - box.height - 8;
    const top = above < 4 ? at.bottom + 8 : above;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${top + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };

  // One stop of the tab key for each chart; the arrow keys go from dot to dot, left to right.
  for (const chart of document.querySelectorAll("svg.chart")) {
    const across = (dot) => Number(dot.getAttribute("x"));
    const dots = [...chart.querySelectorAll("[data-dot]")].sort((a, b) => across(a) - across(b));
    dots.forEach((dot, at) => dot.setAttribute("tabindex", at ? "-1" : "0"));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && dots[dots.indexOf(dotOf(event)) + step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  }

  document.addEventListener("pointerover", (event) => {
    const dot = dotOf(event);
    if (dot) show(dot);
    else if (event.pointerType === "mouse" && !document.activeElement?.matches("[data-dot]")) hide();
  });
  document.addEventListener("click", (event) => (dotOf(event) ? show(dotOf(event)) : hide()));
  document.addEventListener("focusin", (event) => (dotOf(event) ? show(dotOf(event)) : hide()));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("resize", hide);
})();
