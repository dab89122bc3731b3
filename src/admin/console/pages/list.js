import { t } from "../lib/state.js";
import { Audit } from "./audit.js";
import { Blocked } from "./blocked.js";
import { Lanes } from "./lanes.js";
import { DeadLetters } from "./letters.js";
import { Overview } from "./overview.js";
import { Platforms } from "./platforms.js";
import { Replays } from "./replays.js";
import { Trace } from "./trace.js";

export const PAGES = [
  { path: "", title: () => t("Overview", "总览"), Page: Overview },
  { path: "dead-letters", title: () => t("Dead letters", "死信"), Page: DeadLetters },
  { path: "replays", title: () => t("Replays", "重放"), Page: Replays },
  { path: "trace", title: () => t("Trace", "追踪"), Page: Trace },
  { path: "blocked", title: () => t("Blocked partitions", "受阻分区"), Page: Blocked },
  { path: "lanes", title: () => t("Lanes", "通道"), Page: Lanes },
  { path: "platforms", title: () => t("Platforms", "平台"), Page: Platforms },
  { path: "audit", title: () => t("Audit", "审计"), Page: Audit },
];
