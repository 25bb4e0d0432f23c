// The page for a frame in another site's page.
import { Show } from "./show.js";

new Show(() => {});
