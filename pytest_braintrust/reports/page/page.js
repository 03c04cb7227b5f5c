"use strict";
// The page can be read without this. It adds choosing, searching and sorting of tests.

// So many rows a browser lays out without a wait.
const PAGE = 200;

document.documentElement.classList.add("js");
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".tests").forEach((section) => new Tests(section));
});

class Tests {
  constructor(section) {
    this.section = section;
    this.table = section.querySelector(".listing");
    this.body = this.table.tBodies[0];
    // In the order of the page, which is one of its own: the worst first.
    this.rows = Array.from(this.body.rows, (element, place) => ({
      element,
      place,
      outcome: (element.dataset.outcome || "").split(" "),
      ways: (element.dataset.way || "").split(" "),
      scores: (element.dataset.scores || "").split(" ").map(
        (each) => (each === "-" || each === "" ? null : Number(each))),
      text: null,
    }));
    this.order = this.rows;
    this.limit = PAGE;
    this.listen();
    this.addSorting();
    this.addMore();
    this.show();
    this.table.classList.add("ready");
  }

  listen() {
    let waiting = 0;
    this.section.querySelector(".filters").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        this.limit = PAGE;
        this.show();
      }, 150);
    });
  }

  addMore() {
    this.more = document.createElement("button");
    this.more.type = "button";
    this.more.className = "more";
    this.more.addEventListener("click", () => {
      this.limit += PAGE;
      this.show();
    });
    this.table.parentElement.after(this.more);
  }

  addSorting() {
    this.heads = Array.from(this.table.tHead.rows[0].cells);
    this.heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => this.sortBy(head, column));
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
    });
  }

  // Up, down, and back to the order of the page.
  sortBy(head, column) {
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    const way = next[head.getAttribute("aria-sort")];
    this.heads.forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", way);
    const sign = way === "descending" ? -1 : 1;
    this.order = way === "none" ? this.rows : [...this.rows].sort(
      (a, b) => compare(key(a, column), key(b, column), sign) || a.place - b.place);
    this.show();
  }

  // Rows that are not shown are not in the document: laying out many takes long.
  show() {
    const chosen = this.order.filter(this.fits());
    const visible = chosen.slice(0, this.limit);
    this.body.replaceChildren(...visible.map((row) => row.element));
    const left = chosen.length - visible.length;
    const some = left ? `, the first ${number(visible.length)} shown` : "";
    this.section.querySelector(".shown").textContent =
      `${number(chosen.length)} of ${number(this.rows.length)} tests${some}`;
    this.more.hidden = !left;
    this.more.textContent = `Show ${Math.min(left, PAGE)} more`;
  }

  // What the fields say a row is to be, as a function that answers for one.
  fits() {
    const find = (what) => this.section.querySelector(`.filters ${what}`);
    const kind = find("input[type=radio]:checked").value;
    const words = find(".search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const below = find(".below");
    const limit = below && below.value !== "" ? Number(below.value) : null;
    const score = below ? Number(find(".score").value) : 0;
    return (row) => {
      const kinds = kind === "all" || row.outcome.includes(kind) || row.ways.includes(kind);
      if (!kinds) return false;
      if (limit !== null && !(row.scores[score] !== null && row.scores[score] < limit)) {
        return false;
      }
      if (!words.length) return true;
      row.text ??= row.element.textContent.toLowerCase();
      return words.every((word) => row.text.includes(word));
    };
  }
}

function number(value) {
  return value.toLocaleString("en");
}

// What a row is sorted by: its name, its outcome, or a score.
function key(row, column) {
  if (column > 1) return row.scores[column - 2];
  const cell = row.element.cells[column];
  return (cell.abbr || cell.textContent).trim();
}

// What has no value stands last, up and down.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number") return sign * (a - b);
  return sign * a.localeCompare(b, "en", { numeric: true });
}
