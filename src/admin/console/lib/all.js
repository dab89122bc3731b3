// What pages are made of, so that each page needs one import.
export { html } from "htm/preact";
export { useEffect, useRef, useState } from "preact/hooks";
export { change, encode, query as queryOf, read } from "./fetch.js";
export { Bytes } from "./bytes.js";
export { Chart } from "./chart.js";
export { ActionDialog } from "./dialog.js";
export { Chips, FilterForm, fromUrl, isNarrow, toJson, toQuery } from "./filter.js";
export { refresh, useHold, useLive } from "./live.js";
export { advice, cause, meaning } from "./reasons.js";
export { go, link } from "./route.js";
export { count, percent, rate, t } from "./state.js";
export { More, Table, useNewest, useSteady } from "./table.js";
export { span } from "./time.js";
export { Counts, Empty, Fed, Page, Progress, Section, State, Trouble, button, code, dash, muted, rowsOf, stat, state, stateName, time, toLane, toLetter, toTrace, total, whose } from "./ui.js";
