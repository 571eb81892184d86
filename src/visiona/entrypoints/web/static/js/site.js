// What every page has: theme, messages, times, a log-out that leaves nothing, and a banner now and then.

import { takeOverAddressNote } from "./address.js";
import { forgetDraftsAtLogOut } from "./draft.js";
import { takeOverFlashes } from "./flash.js";
import { takeOverTheme } from "./theme.js";
import { keepTimesFresh } from "./times.js";

takeOverTheme();
takeOverFlashes();
keepTimesFresh();
forgetDraftsAtLogOut();
takeOverAddressNote();
