// What every page has: theme, messages, times.

import { takeOverFlashes } from "./flash.js";
import { takeOverTheme } from "./theme.js";
import { keepTimesFresh } from "./times.js";

takeOverTheme();
takeOverFlashes();
keepTimesFresh();
