/* Every visible text whose contrast with what lies behind it is below WCAG's AA, and how many texts were looked at. */
() => {
  const numbers = (colour) => { const c = colour.match(/[\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
  const over = (top, under) => under.map((u, i) => top[i] * top[3] + u * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(numbers(getComputedStyle(e).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(rgb[i] / 255), 0);
  const faults = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const control = /^(SELECT|INPUT)$/.test(element.tagName);
    if (!(own || control) || /^(SCRIPT|OPTION)$/.test(element.tagName) || !element.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize), under = behind(element);
    const text = over(numbers(element instanceof SVGElement ? style.fill : style.color), under);
    const [low, high] = [light(text), light(under)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const name = `${element.tagName}.${element.className}`;
    if (ratio < needed) faults.push(`${name} ${ratio.toFixed(2)}: ${element.textContent.slice(0, 30)}`);
  }
  return { seen, faults };
}
