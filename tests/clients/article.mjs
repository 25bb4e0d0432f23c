// The listener of the article that rollcast comes from, on the npm package `eventsource`. Prints
// each entry of its list as `die face`.

import { EventSource } from "eventsource";

// What a page has: an address, and the part of jQuery that the article uses.
globalThis.document = { baseURI: process.argv.at(-1) };
const jQuery = () => ({
  text(text) {
    this.textContent = text;
    return this;
  },
  prependTo() {
    console.log(this.textContent);
  },
});
const $ = { each: (object, visit) => Object.keys(object).forEach((key) => visit(key, object[key])) };

// The article's own lines. Only one mistake is fixed: `$.each` got a `die_roll`. The lines between
// them are lost, so they are written here as the article's text describes.
function listen() {
    var source = new EventSource("/stream/");
    source.onerror = function(eventdata) {
        // relisten if fail to connect to eventsource
        source.close();
        listen();
    };
    source.onmessage = function(eventdata) {
        var dice_roll = JSON.parse(eventdata["data"]);
        $.each(dice_roll, function(index, dice_roll) {
            var new_li = jQuery('<li>');
            new_li.text(index + " " + dice_roll).prependTo("#rolls");
        });
    };
}
listen();

// Ends with its tester.
process.stdin.on("end", () => process.exit()).resume();
