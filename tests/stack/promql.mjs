// Reads PromQL as far as the test of the stack needs it: the metrics that an expression names, and the same expression
// without its conditions. Prometheus itself judges whether an expression is valid.

const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2"]);
const WITH_LABELS = new Set(["by", "without", "on", "ignoring", "group_left", "group_right"]);

/** The tokens of an expression: strings, selectors' braces and ranges stay whole. */
export function tokens(text) {
  const found = [], at = /\s+|#[^\n]*|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\})|(\[[^\]]*\])|(==|!=|<=|>=|=~|!~|[<>()+\-*/%^,@=])|([a-zA-Z_:][a-zA-Z0-9_:]*)|([0-9.][0-9a-zA-Z.]*)/gy;
  while (at.lastIndex < text.length) {
    const from = at.lastIndex, match = at.exec(text);
    if (!match) throw new Error(`cannot be read from: ${text.slice(from, from + 40)}`);
    const [all, string, braces, range, operator, name, number] = match;
    if (/^(\s|#)/.test(all)) continue;
    found.push({ text: all, kind: string ? "string" : braces ? "braces" : range ? "range" : operator ? "operator" : name ? "name" : number ? "number" : "" });
  }
  return found;
}

/** The places of the names that are metrics: no function, no keyword, no label. */
function metricPlaces(of) {
  const places = [];
  for (let n = 0; n < of.length; n++) {
    if (of[n].kind !== "name") continue;
    const word = of[n].text.toLowerCase();
    if (WITH_LABELS.has(word)) {
      // The labels in the parentheses that follow.
      if (of[n + 1]?.text === "(") while (of[n].text !== ")") n++;
      continue;
    }
    if (KEYWORDS.has(word) || of[n + 1]?.text === "(") continue;
    // An aggregation may have its labels between its name and its parentheses: sum by (x) (...).
    if (of[n + 1]?.kind === "name" && WITH_LABELS.has(of[n + 1].text.toLowerCase()) && /^(sum|min|max|avg|count|group|stddev|stdvar|topk|bottomk|quantile|count_values)$/.test(word)) continue;
    places.push(n);
  }
  return places;
}

/** Each vector selector of an expression: a metric, with its matchers. */
export function selectors(text) {
  const of = tokens(text);
  return metricPlaces(of).map((n) => of[n].text + (of[n + 1]?.kind === "braces" ? of[n + 1].text : ""));
}

export const metrics = (text) => selectors(text).map((one) => one.replace(/\{.*/s, ""));

/**
 * The same expression with conditions that say 0 or 1 instead of leaving series out: it has data also while all is well.
 * What `unless` takes away is a condition itself, and stays as it is.
 */
export function unconditional(text) {
  const of = tokens(text), out = [];
  // The depth of the parentheses in which an `unless` was read.
  let depth = 0, unless = Infinity;
  of.forEach(({ text: token, kind }, n) => {
    out.push(token);
    if (token === "(") depth++;
    if (token === ")" && --depth < unless) unless = Infinity;
    if (token.toLowerCase() === "unless") unless = Math.min(unless, depth);
    const compares = kind === "operator" && ["==", "!=", "<=", ">=", "<", ">"].includes(token);
    if (compares && unless === Infinity && of[n + 1]?.text.toLowerCase() !== "bool") out.push("bool");
  });
  // A selector and its braces or range stand together.
  return out.join(" ").replace(/([a-zA-Z0-9_:]) (\{)/g, "$1$2").replace(/ (\[)/g, "$1");
}
