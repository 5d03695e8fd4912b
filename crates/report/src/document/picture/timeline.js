(function () {
  var root = document.currentScript.parentNode;
  var plot = root.querySelector('.time'), ticks = root.querySelector('.ticks');
  // A page scrolls itself and zooms with Ctrl, which browsers also report for pinching.
  var alone = root === document.documentElement;
  root.querySelector('.hint').textContent =
    (alone ? 'scroll' : 'Ctrl + scroll') + ': zoom, drag: move, double click: all';
  var box = plot.viewBox.baseVal, all = box.width, height = box.height;
  var start = +ticks.dataset.start, end = +ticks.dataset.end, y = ticks.dataset.y;
  var left = +plot.getAttribute('x'), width = +plot.getAttribute('width');
  // No closer than 50 ms: the seconds have three decimals.
  var least = Math.min(all, 0.05 * all / (end - start || 1)), from = 0, shown = all, drag = null;
  function show() {
    shown = Math.min(all, Math.max(least, shown));
    from = Math.min(all - shown, Math.max(0, from));
    plot.setAttribute('viewBox', from + ' 0 ' + shown + ' ' + height);
    while (ticks.firstChild) ticks.removeChild(ticks.firstChild);
    var per = (end - start) / all, step = Math.pow(10, Math.floor(Math.log10(shown * per / 4 || 1)));
    if (shown * per / step > 20) step *= 5; else if (shown * per / step > 10) step *= 2;
    var first = Math.ceil((start + from * per) / step);
    for (var i = first; i * step <= start + (from + shown) * per && i - first < 50; i++) {
      var text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      text.setAttribute('x', left + (((i * step - start) / per - from) / shown) * width);
      text.setAttribute('y', y);
      text.setAttribute('text-anchor', 'middle');
      text.textContent = +(i * step).toFixed(3) + ' s';
      ticks.appendChild(text);
    }
  }
  function at(event) {
    var point = root.createSVGPoint();
    point.x = event.clientX;
    point.y = event.clientY;
    point = point.matrixTransform(root.getScreenCTM().inverse());
    return Math.min(1, Math.max(0, (point.x - left) / width));
  }
  plot.addEventListener('wheel', function (event) {
    if (!alone && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    var x = at(event), was = shown;
    shown *= event.deltaY < 0 ? 0.8 : 1.25;
    shown = Math.min(all, Math.max(least, shown));
    from += x * (was - shown);
    show();
  }, { passive: false });
  plot.addEventListener('pointerdown', function (event) { drag = { x: at(event), from: from }; });
  window.addEventListener('pointermove', function (event) {
    if (drag) { from = drag.from - (at(event) - drag.x) * shown; show(); }
  });
  window.addEventListener('pointerup', function () { drag = null; });
  plot.addEventListener('dblclick', function () { from = 0; shown = all; show(); });
  show();
})();
