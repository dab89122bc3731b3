import { html, useRef, useState } from "./view.js";
import { t } from "./state.js";

// The rows in the order in which they first came; new ones at the end. `again` changes: sorted anew.
export function useSteady(rows, key, again) {
  const kept = useRef({ again: undefined, order: new Map() });
  if (kept.current.again !== again) kept.current = { again, order: new Map() };
  const order = kept.current.order;
  for (const row of rows) if (!order.has(key(row))) order.set(key(row), order.size);
  return [...rows].sort((a, b) => order.get(key(a)) - order.get(key(b)));
}

// Newest first: rows that come later wait behind a button, so that nothing moves under the eye.
export function useNewest(rows, key) {
  const [top, setTop] = useState(null);
  if (!rows.length) return { rows, more: 0, show: () => {} };
  const first = top === null ? -1 : rows.findIndex((row) => key(row) === top);
  if (top === null) setTop(key(rows[0]));
  const more = Math.max(first, 0);
  return { rows: rows.slice(more), more, show: () => setTop(key(rows[0])) };
}

export const More = ({ n, show }) => (n ? html`<button type="button" class="more" onClick=${show}>${t(`Show ${n} newer`, `显示 ${n} 条更新的`)}</button>` : null);

/**
 * columns: [head, cell(row), "num" or "wide"]. On a narrow screen each row becomes a block with the heads as labels; the
 * roles keep it a table for screen readers.
 */
export function Table({ caption, columns, rows, id, rowClass }) {
  const shown = columns.filter(Boolean);
  return html`<div class="scroll" role="region" aria-label=${caption} tabindex="0"><table role="table">
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${shown.map(([head, , kind], n) => html`<th key=${n} role="columnheader" scope="col" class=${kind}>${head}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row) => html`<tr key=${id(row)} role="row" class=${rowClass?.(row)}>${shown.map(([head, cell, kind], n) => html`<td key=${n} role="cell" data-label=${head} class=${kind}><div>${cell(row)}</div></td>`)}</tr>`)}</tbody>
  </table></div>`;
}
