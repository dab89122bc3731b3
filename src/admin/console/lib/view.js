export { html } from "htm/preact";
export { useEffect, useRef, useState } from "preact/hooks";
