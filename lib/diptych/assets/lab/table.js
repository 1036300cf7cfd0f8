// Lets a reader sort the table before this script, and filter and page a long one.
(() => {
  const box = document.currentScript.previousElementSibling;
  const table = box.querySelector("table"), body = table.tBodies[0];
  const rows = [...body.rows], size = rows.filter(row => !row.hidden).length;
  const text = (row, column) => row.cells[column].textContent.trim();
  const form = /^[-+\x3c]?\d[\d,]*(\.\d*)?(e[-+]?\d+)?\s?%?$/i; // no sign that opens a tag in here
  const number = value => form.test(value) ? Number(value.replace(/[,%\x3c\s]/g, "")) : NaN;
  let chosen = rows, first = 0, range = null;
  const draw = () => {
    const page = chosen.slice(first, first + size);
    page.forEach(row => { row.hidden = false; });
    body.replaceChildren(...page);
    if (range) range.textContent = chosen.length
      ? ` ${first + 1}–${first + page.length} of ${chosen.length} ` : " no row ";
  };
  const sort = head => {
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    const missing = row => text(row, column) === "—";
    const numbers = rows.every(row => missing(row) || !isNaN(number(text(row, column))));
    const compare = (a, b) => numbers ? number(a) - number(b) : a.localeCompare(b);
    [rows, chosen].forEach(list => list.sort((a, b) => missing(a) - missing(b) ||
      (missing(a) ? 0 : (up ? 1 : -1) * compare(text(a, column), text(b, column)))));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    first = 0;
    draw();
  };
  for (const head of table.tHead.rows[0].cells) {
    head.tabIndex = 0;
    head.style.cursor = "pointer";
    head.title = "Sort";
    head.onclick = () => sort(head);
    head.onkeydown = event => { if (event.key === "Enter") sort(head); };
  }
  if (12 > rows.length) return;
  const bar = document.createElement("p"), filter = document.createElement("input");
  range = document.createElement("span");
  filter.placeholder = filter.ariaLabel = "Filter rows";
  filter.className = "jp-mod-styled";
  filter.oninput = () => {
    const wanted = filter.value.toLowerCase();
    chosen = rows.filter(row => row.textContent.toLowerCase().includes(wanted));
    first = 0;
    draw();
  };
  const turn = (sign, step, name) => {
    const button = document.createElement("button");
    [button.textContent, button.ariaLabel, button.className] = [sign, name, "jp-mod-styled"];
    button.onclick = () => {
      if (first + step >= 0 && chosen.length > first + step) first += step;
      draw();
    };
    return button;
  };
  bar.append(filter);
  if (rows.length > size)
    bar.append(turn("‹", -size, "Page before"), range, turn("›", size, "Next page"));
  box.querySelector("p")?.remove();
  box.prepend(bar);
  draw();
})();
