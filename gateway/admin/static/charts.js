// Charts: uPlot with our colours, units and words. Areas and bars are stacked, lines are not.
"use strict";

headgate.chart = (() => {
  const { element, format } = headgate;
  const PALETTE = 8;

  const units = {
    usd: format.usd,
    tokens: (value) => format.short(value),
    calls: (value) => format.short(value),
    s: format.seconds,
    ms: (value) => format.seconds(value / 1000),
    "%": format.percent,
    bytes: format.bytes,
  };
  const axisNames = { usd: "US dollars", tokens: "Tokens", calls: "Calls", s: "Seconds", ms: "Milliseconds", "%": "Share", bytes: "Bytes" };

  /** Writes moments of an axis whose ticks are `step` seconds apart, and of points that are, in a zone ("" is here). */
  function clock(zone) {
    const of = (options) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone || undefined, hourCycle: "h23" });
    const [month, day, time] = [of({ month: "short", year: "numeric" }), of({ day: "numeric", month: "short" }), of({ hour: "2-digit", minute: "2-digit" })];
    const [second, whole] = [of({ hour: "2-digit", minute: "2-digit", second: "2-digit" }), of({ weekday: "short", day: "numeric", month: "short", year: "numeric" })];
    const at = (writer, moment) => writer.format(new Date(moment * 1000));
    return {
      tick(moment, step) {
        if (step >= 28 * 86400) return at(month, moment);
        if (step >= 86400 || at(second, moment) === "00:00:00") return at(day, moment);
        return at(step < 60 ? second : time, moment);
      },
      point(moment, step) {
        if (step >= 28 * 86400) return at(month, moment);
        return step >= 86400 ? at(whole, moment) : `${at(day, moment)}, ${at(step < 60 ? second : time, moment)}${zone ? ` ${zone}` : ""}`;
      },
    };
  }

  /** Writes amounts of an axis: without cents where none has any. */
  function ticks(unit, write) {
    if (unit !== "usd") return (values) => values.map(write);
    return (values) => values.map((value) => (values.every((each) => Number.isInteger(each)) ? `$${format.number(value)}` : write(value)));
  }

  // Canvas does not know var() or light-dark(): an element that has the colour tells what it comes to.
  function colours(root) {
    const probe = element("span");
    root.append(probe);
    const read = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const found = { text: read("text-3"), line: read("line"), surface: read("surface"), bad: read("bad") };
    found.series = Array.from({ length: PALETTE }, (_, index) => read(`series-${index + 1}`));
    probe.remove();
    return found;
  }

  /** Mixes a colour with what is behind it; opaque, so that nothing shines through what covers it. */
  function mixed(colour, behind, share) {
    const [over, under] = [colour, behind].map((each) => each.match(/[\d.]+/g).map(Number));
    return `rgb(${[0, 1, 2].map((part) => Math.round(over[part] * share + under[part] * (1 - share))).join(", ")})`;
  }

  /** Sums from the first series up; what is hidden counts nothing. */
  function stacked(series, shown, length) {
    const sums = new Array(length).fill(0);
    return series.map((each, index) => {
      if (!shown[index]) return new Array(length).fill(null);
      return each.values.map((value, at) => (sums[at] += value ?? 0));
    });
  }

  /** Draws lines at amounts, dashed and named, across a plot. */
  function rules(plot, lines, colour, behind, font) {
    const pen = plot.ctx;
    const { left, top, width } = plot.bbox;
    const ratio = devicePixelRatio || 1;
    for (const { label, value } of lines) {
      const at = plot.valToPos(value, "y", true);
      if (at < top) continue;
      pen.save();
      pen.strokeStyle = colour;
      pen.lineWidth = 1.5 * ratio;
      pen.setLineDash([5 * ratio, 4 * ratio]);
      pen.beginPath();
      pen.moveTo(left, at);
      pen.lineTo(left + width, at);
      pen.stroke();
      pen.font = font.replace("12px", `${12 * ratio}px`);
      pen.textAlign = "right";
      const [right, wide] = [left + width - 6 * ratio, pen.measureText(label).width];
      pen.fillStyle = behind; // bars may be there
      pen.fillRect(right - wide - 5 * ratio, at - 21 * ratio, wide + 10 * ratio, 18 * ratio);
      pen.fillStyle = colour;
      pen.fillText(label, right, at - 8 * ratio);
      pen.restore();
    }
  }

  /** Draws a chart into an element; see `pages/__init__.py`. Returns {set, png, destroy}. */
  return function chart(root, given) {
    const options = { kind: "area", unit: "calls", title: "", x: [], series: [], ...given };
    const height = Number(root.dataset.height ?? 260);
    const write = units[options.unit] ?? ((value) => format.number(value, 2));
    const isStack = options.kind !== "lines";
    const step = () => (options.x.length > 1 ? options.x[1] - options.x[0] : 3600);
    // Whole days are the server's, in UTC; what is finer is told by the clock on the wall.
    const zone = () => options.zone ?? (step() >= 86400 ? "UTC" : "");
    let shown = options.series.map(() => true);
    let plot = null;

    const canvas = element("div", { "aria-hidden": "true" });
    const legend = element("ul", { class: "chart-legend", "aria-label": "Series" });
    const tip = element("div", { class: "chart-tip", hidden: "" });
    const table = element("div", { class: "visually-hidden" });
    const save = element("button", { class: "button quiet small", type: "button", title: "Save as a picture" }, "PNG");
    save.addEventListener("click", png);
    const foot = element("div", { class: "chart-foot" }, legend, save);
    root.replaceChildren(canvas, tip, foot, table);
    root.setAttribute("role", "figure");

    function data() {
      if (!isStack) return [options.x, ...options.series.map((each) => each.values)];
      return [options.x, ...stacked(options.series, shown, options.x.length)];
    }

    function draw() {
      plot?.destroy();
      plot = null;
      root.setAttribute("aria-label", options.title);
      const empty = !options.x.length || !options.series.length;
      foot.hidden = empty;
      if (empty) {
        canvas.replaceChildren(element("div", { class: "empty" }, element("p", { class: "empty-title" }, "Nothing in this time")));
        return;
      }
      canvas.replaceChildren();
      const colour = colours(root);
      const of = (index) => (options.series[index].colour === "bad" ? colour.bad : colour.series[index % PALETTE]);
      const bars = options.kind === "bars" ? uPlot.paths.bars({ size: [0.72, 46], radius: 0.12 }) : undefined;
      const series = options.series.map((each, index) => ({
        label: each.label,
        show: shown[index],
        stroke: options.kind === "bars" ? undefined : of(index),
        width: options.kind === "bars" ? 0 : 1.75,
        // One on top of the other: each is drawn whole, from the highest down, and so covers what is not its own.
        fill: options.kind === "bars" ? of(index) : isStack ? mixed(of(index), colour.surface, options.series.length > 1 ? 0.8 : 0.18) : undefined,
        paths: bars,
        points: { show: options.x.length === 1 },
        spanGaps: false,
      }));
      const order = series.map((_, index) => index);
      if (isStack) order.reverse();
      const all = data();
      const font = `12px ${getComputedStyle(document.body).fontFamily}`;
      const axis = { stroke: colour.text, font, ticks: { show: false }, grid: { stroke: colour.line, width: 1 } };
      const gap = step();
      const said = clock(zone());
      const amounts = ticks(options.unit, write);
      const ruled = options.lines ?? [];
      plot = new uPlot(
        {
          width: root.clientWidth || 600,
          height,
          padding: [14, 22, 0, 0],
          tzDate: (moment) => (zone() ? uPlot.tzDate(new Date(moment * 1000), zone()) : new Date(moment * 1000)),
          legend: { show: false },
          cursor: { y: false, points: { show: !bars, size: 7 }, drag: { x: false, y: false } },
          scales: {
            x: { time: true, range: (_, least, most) => (bars ? [least - gap / 2, most + gap / 2] : least === most ? [least - 1800, most + 1800] : [least, most]) },
            y: { range: (_, least, most) => [Math.min(0, least ?? 0), Math.max(most > 0 ? most * 1.06 : 1, ...ruled.filter((each) => each.value < most * 2.5).map((each) => each.value * 1.12))] },
          },
          axes: [
            { ...axis, grid: { show: false }, space: 76, size: 34, gap: 9, values: (_, moments, __, ___, apart) => moments.map((moment) => said.tick(moment, apart)) },
            { ...axis, border: { show: false }, size: (_, values) => 22 + 7 * Math.max(3, ...(values ?? []).map((value) => value.length)), values: (_, values) => amounts(values), label: options.axis ?? axisNames[options.unit], labelSize: 20, labelFont: font },
          ],
          series: [{}, ...order.map((index) => series[index])],
          hooks: { setCursor: [(at) => point(at, of)], draw: [(at) => rules(at, ruled, colour.text, colour.surface, font)], ready: [ready] },
        },
        [all[0], ...order.map((index) => all[index + 1])],
        canvas,
      );
      name(of);
      describe();
    }

    function ready(at) {
      at.over.addEventListener("mouseleave", () => (tip.hidden = true));
      if (!options.pick) return;
      at.over.classList.add("chart-picks");
      at.over.addEventListener("click", () => at.cursor.idx != null && options.pick(at.cursor.idx));
    }

    function name(of) {
      legend.replaceChildren(
        ...options.series.map((each, index) => {
          const swatch = element("span", { class: "swatch" });
          swatch.style.background = of(index);
          const button = element("button", { type: "button", "aria-pressed": String(shown[index]) }, swatch, each.label);
          button.addEventListener("click", () => {
            shown[index] = !shown[index];
            draw();
            legend.children[index].firstChild.focus();
          });
          return element("li", {}, button);
        }),
      );
    }

    function point(at, of) {
      const { idx: index, left } = at.cursor;
      if (index == null || left < 0) return void (tip.hidden = true);
      const rows = options.series.map((each, number) => [each, number]).filter(([each, number]) => shown[number] && each.values[index] != null);
      if (isStack) rows.reverse();
      tip.replaceChildren(element("strong", {}, clock(zone()).point(options.x[index], step())));
      for (const [each, number] of rows) {
        const swatch = element("span", { class: "swatch" });
        swatch.style.background = of(number);
        tip.append(element("div", {}, swatch, element("span", {}, each.label), element("b", {}, write(each.values[index]))));
      }
      if (isStack && rows.length > 1) {
        const total = rows.reduce((sum, [each]) => sum + each.values[index], 0);
        tip.append(element("div", { class: "total" }, element("span", {}), element("span", {}, "Total"), element("b", {}, write(total))));
      }
      tip.hidden = false;
      const where = left + at.over.offsetLeft;
      const room = root.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, where + 16 > room ? where - tip.offsetWidth - 16 : where + 16)}px`;
      tip.style.top = "8px";
    }

    function describe() {
      const head = element("tr", {}, element("th", {}, "Time"), ...options.series.map((each) => element("th", {}, each.label)));
      const said = clock(zone());
      const every = Math.max(1, Math.ceil(options.x.length / 50));
      const rows = options.x.flatMap((at, index) =>
        index % every ? [] : [element("tr", {}, element("td", {}, said.point(at, step())), ...options.series.map((each) => element("td", {}, each.values[index] == null ? "" : write(each.values[index]))))],
      );
      table.replaceChildren(element("table", {}, element("caption", {}, options.title), element("thead", {}, head), element("tbody", {}, ...rows)));
    }

    /** Saves the chart with its title and its legend as a picture. */
    function png() {
      const source = canvas.querySelector("canvas");
      if (!source) return;
      const ratio = devicePixelRatio || 1;
      const picture = element("canvas", { width: source.width, height: source.height + 72 * ratio });
      const pen = picture.getContext("2d");
      const colour = colours(root);
      pen.fillStyle = colour.surface;
      pen.fillRect(0, 0, picture.width, picture.height);
      pen.drawImage(source, 0, 36 * ratio);
      const family = getComputedStyle(document.body).fontFamily;
      pen.fillStyle = getComputedStyle(document.body).color;
      pen.font = `600 ${14 * ratio}px ${family}`;
      pen.fillText(options.title, 12 * ratio, 22 * ratio);
      pen.font = `${12 * ratio}px ${family}`;
      let left = 12 * ratio;
      const bottom = picture.height - 14 * ratio;
      options.series.forEach((each, index) => {
        if (!shown[index]) return;
        pen.fillStyle = each.colour === "bad" ? colour.bad : colour.series[index % PALETTE];
        pen.fillRect(left, bottom - 9 * ratio, 10 * ratio, 10 * ratio);
        pen.fillStyle = colour.text;
        pen.fillText(each.label, left + 15 * ratio, bottom);
        left += pen.measureText(each.label).width + 34 * ratio;
      });
      picture.toBlob((blob) => headgate.save(`${options.title || "chart"}.png`, blob));
    }

    function set(next) {
      if (next.series && next.series.length !== options.series.length) shown = next.series.map(() => true);
      Object.assign(options, next);
      draw();
    }

    let width = root.clientWidth;
    const watching = new ResizeObserver(() => {
      if (plot && root.clientWidth && root.clientWidth !== width) plot.setSize({ width: (width = root.clientWidth), height });
    });
    watching.observe(root);
    addEventListener("themechange", draw);
    draw();
    return {
      set,
      png,
      destroy() {
        watching.disconnect();
        removeEventListener("themechange", draw);
        plot?.destroy();
        root.replaceChildren();
      },
    };
  };
})();
