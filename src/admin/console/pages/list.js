// The pages in the order of the navigation.
import { t } from "../lib/state.js";
import { Blocked } from "./blocked.js";
import { Lanes } from "./lanes.js";
import { Overview } from "./overview.js";

export const PAGES = [
  { path: "", title: () => t("Overview", "总览"), Page: Overview },
  { path: "blocked", title: () => t("Blocked partitions", "受阻分区"), Page: Blocked },
  { path: "lanes", title: () => t("Lanes", "通道"), Page: Lanes },
];
