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
    const head = button.closest("th"), table = head.closest("table");
    const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      body.append(...rows.sort((first, second) => {
        const a = key(first, column), b = key(second, column), order = compare(a, b);
        return order === null ? (a === "" ? 1 : -1) : up ? order : -order;
      }));
    }
  });
}
for (const box of document.querySelectorAll(".filters")) {
  const table = document.getElementById(box.dataset.table), field = box.querySelector("input");
  const chips = [...box.querySelectorAll(".chip")], said = box.querySelector("[role=status]");
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean), wanted = new Map();
    for (const chip of chips.filter((one) => one.getAttribute("aria-pressed") === "true")) {
      const column = chip.dataset.column;
      wanted.set(column, [...(wanted.get(column) || []), chip.dataset.value]);
    }
    let shown = 0, total = 0;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word))
          || ![...wanted].every(([column, values]) => values.includes(row.cells[column].dataset.sort));
      }
      const left = rows.filter((row) => !row.hidden).length;
      if (body.rows.length > rows.length) body.rows[0].hidden = left === 0;
      shown += left;
      total += rows.length;
    }
    said.textContent = shown < total ? `${shown} of ${total} shown` : "";
  };
  field.addEventListener("input", apply);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  }
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
