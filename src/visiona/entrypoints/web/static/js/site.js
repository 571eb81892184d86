// What every page has: theme, messages, times, and a log-out that leaves nothing.

import { forgetDraftsAtLogOut } from "./draft.js";
import { takeOverFlashes } from "./flash.js";
import { takeOverTheme } from "./theme.js";
import { keepTimesFresh } from "./times.js";

takeOverTheme();
takeOverFlashes();
keepTimesFresh();
forgetDraftsAtLogOut();
