// Sorts the tables marked data-sortable and filters those that are long or hold failures. Without it they stand in the
// report's order, whole.
"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v === "" ? -Infinity : Number(cell.dataset.v);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const turn = head.getAttribute("aria-sort");
      const next = turn === "descending" ? "ascending" : turn === "ascending" ? null : "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      const sorted = [...rows];
      if (next) {
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        sorted.sort((a, b) => {
          const x = key(a, column), y = key(b, column);
          return sign * (typeof x === "number" ? (x > y) - (x < y) : x.localeCompare(y));
        });
      }
      body.append(...sorted);
    });
  });
  const failures = rows.some(row => row.classList.contains("fail"));
  if (rows.length < 12 && !failures) continue;
  const bar = document.createElement("div");
  bar.className = "filter";
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "part of a name";
  label.append("Show only ", input);
  const choice = document.createElement("label");
  const failed = document.createElement("input");
  failed.type = "checkbox";
  choice.append(failed, " failures");
  const count = document.createElement("output");
  bar.append(label, ...(failures ? [choice] : []), count);
  table.closest(".scroll").before(bar);
  const show = () => {
    let shown = 0;
    for (const row of rows) {
      const named = row.cells[0].textContent.toLowerCase().includes(input.value.trim().toLowerCase());
      row.hidden = !named || (failed.checked && !row.classList.contains("fail"));
      shown += !row.hidden;
    }
    count.textContent = shown + " of " + rows.length + " rows";
  };
  input.addEventListener("input", show);
  failed.addEventListener("change", show);
  show();
}
