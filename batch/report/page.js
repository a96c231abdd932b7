(function () {
  "use strict";
  var make = function (tag, cls, text) {
    var e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text) e.textContent = text;
    return e;
  };
  var text = function (row, i) { return row.cells[i] ? (row.cells[i].dataset.v || row.cells[i].textContent).trim() : ""; };
  var number = function (s) { var n = parseFloat(s.replace(/[^0-9.\-]/g, "")); return isNaN(n) ? -Infinity : n; };
  var words = new Intl.Collator("en", { numeric: true });

  document.querySelectorAll("table.sort").forEach(function (table, no) {
    var body = table.tBodies[0], rows = Array.from(body.rows), heads = Array.from(table.tHead.rows[0].cells);

    heads.forEach(function (th, i) {
      var button = make("button", "", th.textContent), numeric = th.classList.contains("n");
      button.type = "button";
      th.textContent = "";
      th.appendChild(button);
      th.appendChild(make("span", "paper", button.textContent)); // a heading that is repeated on paper does not show its button
      th.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () {
        var down = th.getAttribute("aria-sort") === (numeric ? "none" : "ascending") || numeric && th.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (h) { h.setAttribute("aria-sort", "none"); });
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        rows.sort(function (a, b) {
          var x = text(a, i), y = text(b, i), d = numeric ? number(x) - number(y) : words.compare(x, y);
          return (down ? -d : d) || 0;
        });
        rows.forEach(function (r) { body.appendChild(r); });
      });
    });

    if (rows.length < 2) return;
    var tools = make("div", "tools"), input = make("input"), shown = make("output");
    input.type = "search";
    input.placeholder = "Filter";
    input.setAttribute("aria-label", "Filter " + (table.dataset.name || "table " + (no + 1)));
    input.spellcheck = false;
    var tell = function (n) { shown.textContent = n === rows.length ? n + (n === 1 ? " row" : " rows") : n + " of " + rows.length + " rows"; };
    input.addEventListener("input", function () {
      var wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean), n = 0;
      rows.forEach(function (r) {
        var has = r.textContent.toLowerCase();
        r.hidden = !wanted.every(function (w) { return has.indexOf(w) >= 0; });
        if (!r.hidden) n++;
      });
      tell(n);
    });
    tell(rows.length);
    tools.appendChild(input);
    tools.appendChild(shown);
    table.closest(".scroll").before(tools);
  });

  document.querySelectorAll("pre.command").forEach(function (pre) {
    var button = make("button", "copy", "Copy");
    button.type = "button";
    button.addEventListener("click", function () {
      var range = document.createRange(), selection = window.getSelection();
      range.selectNodeContents(pre.querySelector("code"));
      selection.removeAllRanges();
      selection.addRange(range);
      var done = document.execCommand("copy");
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(function () { button.textContent = "Copy"; }, 2000);
    });
    pre.appendChild(button);
  });

  // Without a script everything is open; on paper too.
  var folds = Array.from(document.querySelectorAll("details.fold")), open = [];
  folds.forEach(function (d) { d.open = false; });
  window.addEventListener("beforeprint", function () {
    open = folds.map(function (d) { return d.open; });
    folds.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () { folds.forEach(function (d, i) { d.open = open[i]; }); });
})();
