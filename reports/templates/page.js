"use strict";
const key = (row, column) => {
  const text = row.cells[column].dataset.sort;
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
};
const compare = (a, b) => {
  if (a === "" || b === "") return a === b ? 0 : null;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
};
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort((first, second) => {
      const a = key(first, column), b = key(second, column), order = compare(a, b);
      return order === null ? (a === "" ? 1 : -1) : up ? order : -order;
    }));
  });
}
const tip = document.getElementById("tip");
const show = (target) => {
  const box = target.getBoundingClientRect();
  tip.textContent = target.dataset.tip;
  tip.style.display = "block";
  const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${Math.max(8, box.top - tip.offsetHeight - 6) + scrollY}px`;
};
const hide = () => { tip.style.display = "none"; };
for (const target of document.querySelectorAll("[data-tip]")) {
  target.setAttribute("aria-label", target.dataset.tip);
  for (const name of ["pointerenter", "focus", "click"]) target.addEventListener(name, () => show(target));
  for (const name of ["pointerleave", "blur"]) target.addEventListener(name, hide);
}
