//! The live page without any fault.

use serde_json::{Value, json};

use crate::browser::{Browser, Complaint};
use crate::common::{Door, Instance, http};
use crate::looks::set_width;
use crate::rows::{head, lock, roll_until};
use crate::session::in_each_browser;
use crate::slots::{NEWEST, STATE, assert_followed_up_to, follow, slots, slots_up_to};

const FIVE_DICE: &str = "dice = ['1D4', '1D6', '1D8', '1D12', '1D20']";

#[test]
fn rolls_follow_without_gap_or_repeat_at_twenty_rolls_a_second() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    instance.fill(150, 1);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    follow(&browser);
    let loaded = head(&instance);
    for n_live in [1, 50, 100, 150, 200, 250] {
        let shown = slots_up_to(loaded + n_live, &browser, &instance);
        assert_eq!(shown.len(), 16, "the page shows the newest rolls");
    }
    assert_followed_up_to(loaded + 250, &browser, &instance);
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_follows_the_stream_at_the_fan_out_door() {
    let browser = Browser::open();
    let instance = Door::Fanout.instance("every = '50ms'");
    let door = format!("http://127.0.0.1:{}", instance.stream_port());
    instance.configure(&format!("every = '50ms'\nfanout.public_url = '{door}'"));
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    follow(&browser);
    let loaded = head(&instance);
    slots_up_to(loaded + 50, &browser, &instance);
    assert_followed_up_to(loaded + 50, &browser, &instance);
    // The browser has reported no violation of the Content-Security-Policy.
    browser.assert_quiet(&[]);
    let mut metrics = http().get(instance.url("/metrics")).call().unwrap();
    let metrics = metrics.body_mut().read_to_string().unwrap();
    let connections = metrics.lines().find(|line| line.starts_with("rollcast_fanout_connections"));
    // A browser may open one more in advance.
    assert!(connections.is_some_and(|line| !line.ends_with(" 0")), "{connections:?}");
}

#[test]
fn rolls_that_are_too_fast_are_drawn_four_times_a_second_and_the_page_says_so() {
    let browser = Browser::open();
    let instance = Instance::new(&format!("every = '1ms'\n{FIVE_DICE}"));
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let says = browser.text(".caption");
    assert!(says.contains("Rolled 1,000 times a second, shown four times a second"), "{says}");
    let loaded = browser.wait_for(&format!("{STATE} === 'live' && {NEWEST}")).as_i64().unwrap();
    slots_up_to(loaded + 500, &browser, &instance);

    // Frames and changes of the number on the felt in three seconds.
    let seen = browser.execute_async(
        "const done = arguments[arguments.length - 1];
        let n_frames = 0, n_draws = 0, most = 0;
        new MutationObserver(() => (n_draws += 1)).observe(
            document.querySelector('.newest-number'),
            { characterData: true, subtree: true });
        const start = performance.now();
        requestAnimationFrame(function frame() {
            n_frames += 1;
            most = Math.max(most, document.querySelectorAll('*').length);
            if (performance.now() - start < 3000) requestAnimationFrame(frame);
            else done({ n_frames, n_draws, most });
        });",
    );
    let [n_frames, n_draws, most] =
        ["n_frames", "n_draws", "most"].map(|name| seen[name].as_u64().unwrap());
    assert!((2..=13).contains(&n_draws), "expected about 12 draws in 3 s, got {n_draws}");
    assert!(n_frames > 15, "expected frames while rolls arrive, got {n_frames} in 3 s");
    assert!(most <= 600, "expected at most 600 elements with five dice, got {most}");
    slots_up_to(loaded + 2_000, &browser, &instance);
    browser.assert_quiet(&[]);
}

/// Where every visible element of the page is, except texts and drawings that change.
pub const PLACES: &str = "[...document.querySelectorAll('main *, footer')]
    .filter((element) => !element.closest(
        '#newest, .state, .sprite, .die-shape, .visually-hidden, .fairness svg, .fairness p'))
    .map((element) => {
        const { x, y, width, height } = element.getBoundingClientRect();
        return [element.localName, element.classList[0], x, y, width, height].join(' ');
    })";

#[test]
fn nothing_on_the_page_moves_when_rolls_arrive() {
    let browser = Browser::open();
    for toml in ["every = '100ms'", "every = '100ms'\ndice = ['2D6', '10D10']"] {
        for width in [1280, 320] {
            let instance = Instance::new(toml);
            // The number of the roll has one digit more in a moment.
            instance.fill(995, 900);
            let _server = instance.start();
            set_width(width, &browser);
            browser.goto(&instance.url("/"));
            let loaded = browser.wait_for(&format!("{STATE} === 'live' && {NEWEST}"));
            let shifts = "window.shifts = []; new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) shifts.push(entry.value);
            }).observe({ type: 'layout-shift', buffered: true })";
            browser.execute_async(&format!("{shifts}; arguments[arguments.length - 1](0)"));
            let places =
                || -> Vec<String> { serde_json::from_value(browser.read(PLACES)).unwrap() };
            let before = places();
            for n in [5, 10, 40] {
                browser.wait_for(&format!("{NEWEST} > {loaded} + {n}"));
                let now = places();
                assert_eq!(now.len(), before.len(), "at {width} pixels after {n} rolls");
                let moved = before.iter().zip(&now).find(|(before, now)| before != now);
                assert_eq!(moved, None, "at {width} pixels after {n} rolls");
            }
            let shift = browser.read("shifts.reduce((sum, shift) => sum + shift, 0)");
            assert!(shift.as_f64().unwrap() < 0.02, "the layout shifts by {shift} at {width}");
        }
    }
    browser.assert_quiet(&[Complaint::Network]);
}

/// The middle of a slot, counted from the left, and the roll in it.
fn aim_at(n: usize, browser: &Browser) -> Value {
    browser.read(&format!(
        "(() => {{
            const link = document.querySelectorAll('#rolls a')[{n}];
            const {{ x, y, width, height }} = link.getBoundingClientRect();
            const place = {{ x: x + width / 2, y: y + height / 2 }};
            return {{ ...place, path: link.getAttribute('href') }};
        }})()"
    ))
}

#[test]
fn every_aimed_click_opens_the_roll_that_the_visitor_aimed_at() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    instance.fill(30, 1);
    let _server = instance.start();
    let mouse = |kind: &str, at: &Value| {
        browser.devtools(
            "Input.dispatchMouseEvent",
            json!({ "type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1 }),
        );
    };
    for n in 0..20 {
        browser.goto(&instance.url("/"));
        browser.wait_for(&format!("{STATE} === 'live'"));
        // The slots in turn, and the link on the felt.
        let at = match n {
            ..16 => {
                mouse("mouseMoved", &aim_at(n, &browser));
                aim_at(n, &browser)
            }
            _ => {
                let number = "document.querySelector('#newest a')";
                let point = "({ x: box.x + box.width / 2, y: box.y + box.height / 2 })";
                let at =
                    browser.read(&format!("((box) => {point})({number}.getBoundingClientRect())"));
                mouse("mouseMoved", &at);
                let mut aimed = at.clone();
                aimed["path"] = browser.read(&format!("{number}.getAttribute('href')"));
                aimed
            }
        };
        // Meanwhile each slot would change.
        roll_until(head(&instance) + 25, &instance);
        mouse("mousePressed", &at);
        mouse("mouseReleased", &at);
        browser.wait_for("location.pathname !== '/'");
        assert_eq!(browser.read("location.pathname"), at["path"], "click {n}");
    }
}

#[test]
fn focus_and_selection_survive_new_rolls_and_a_focused_roll_stays() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    instance.fill(30, 1);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let loaded = browser.wait_for(&format!("{STATE} === 'live' && {NEWEST}"));
    browser.read(
        "(() => {
            window.focused = document.querySelectorAll('#rolls a')[7];
            focused.focus();
            window.aimed = focused.getAttribute('href');
            getSelection().selectAllChildren(document.querySelector('.title'));
            window.selected = String(getSelection());
        })()",
    );
    browser.wait_for(&format!("{NEWEST} > {loaded} + 30"));
    assert_eq!(browser.read("document.activeElement === focused"), true);
    assert_eq!(browser.read("focused.getAttribute('href') === aimed"), true);
    assert_eq!(browser.read("selected.length > 10 && String(getSelection()) === selected"), true);
    browser.read("focused.blur()");
    browser.wait_for("focused.getAttribute('href') !== aimed");
    // A selection that reaches into text that changes.
    browser.read("getSelection().selectAllChildren(document.getElementById('newest'))");
    browser.wait_for(&format!("{NEWEST} > {loaded} + 60"));
    assert_eq!(browser.read("String(getSelection()).includes('Roll')"), true);
}

#[test]
fn the_felt_and_the_slots_are_the_same_html_as_the_servers_own() {
    let browser = Browser::open();
    let instance = Instance::new(
        "every = '500ms'\n\
         dice = ['1D2', '1D4', '1D6', '3D6', '1D8', '1D10', '2D10', '1D12', '1D20', '1D100']",
    );
    instance.fill(20, 1);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let loaded = browser.wait_for(&format!("{STATE} === 'live' && {NEWEST}"));
    browser.wait_for(&format!("{NEWEST} > {loaded} + 3"));

    // White space between elements may differ. A roll may come after the server's answer.
    let pairs = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         const plain = (element) => element.outerHTML.replace(/\\s+/g, ' ')
             .replace(/ ?(<[^>]*>) ?/g, '$1').replaceAll(' class=\"result \"', ' class=\"result\"')
             .replaceAll(' aria-current=\"true\"', '');
         const parts = (page) => new Map([
             [page.querySelector('#newest a').href, page.querySelector('.felt > .dice')],
             ...[...page.querySelectorAll('.slot')].filter((slot) => slot.querySelector('[href]'))
                 .map((slot) => [slot.querySelector('a').getAttribute('href'), slot])]);
         function compare() {
             fetch('/', { cache: 'no-store' }).then((response) => response.text()).then((html) => {
                 const served = new DOMParser().parseFromString(html, 'text/html');
                 const [ours, theirs] = [parts(document), parts(served)];
                 const both = [...ours.keys()].filter((key) => theirs.has(key));
                 if (!both[0]?.startsWith('http')) return setTimeout(compare, 50);
                 done(both.map((key) => [plain(ours.get(key)), plain(theirs.get(key))]));
             });
         }
         compare();",
    );
    let pairs = pairs.as_array().unwrap();
    assert!(pairs.len() >= 10, "expected the felt and slots, got {}", pairs.len());
    for pair in pairs {
        let [live, served] = [&pair[0], &pair[1]].map(|html| html.as_str().unwrap());
        assert_eq!(live, served, "expected the page's part (left) as the server draws it (right)");
    }
}

#[test]
fn a_page_continues_when_the_visitor_returns_to_it() {
    in_each_browser(|browser| {
        let instance = Instance::new("every = '100ms'");
        let _server = instance.start();
        browser.goto(&instance.url("/"));
        slots_up_to(5, browser, &instance);
        browser.goto(&instance.url("/rolls"));
        roll_until(head(&instance) + 5, &instance);
        browser.back();
        slots_up_to(head(&instance) + 5, browser, &instance);
    });
}

#[test]
fn a_page_without_rolls_says_so_and_shows_the_first_roll_by_itself() {
    let browser = Browser::open();
    let instance = Instance::new("every = '200ms'\ndice = ['1D6', '2D6']");
    instance.fill(0, 1);
    let lock = lock(&instance);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    assert_eq!(browser.text("#notices"), "No rolls yet. The first one will appear here.");
    assert_eq!(browser.read("document.querySelectorAll('.felt .die').length"), 2);
    drop(lock);
    slots_up_to(2, &browser, &instance);
    assert_eq!(browser.text("#notices"), "");
    browser.assert_quiet(&[]);
}

#[test]
fn a_phone_shows_eight_rolls_and_a_window_that_changes_its_width_keeps_the_newest() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    instance.fill(30, 1);
    let _server = instance.start();
    set_width(390, &browser);
    browser.goto(&instance.url("/"));
    for (width, n_shown) in [(390, 8), (1280, 16), (390, 8)] {
        set_width(width, &browser);
        browser.wait_for(&format!("innerWidth === {width}"));
        let shown = slots_up_to(head(&instance) + 20, &browser, &instance);
        assert_eq!(shown.len(), n_shown, "at {width} pixels");
    }
}

#[test]
fn a_sum_is_drawn_as_a_cup_and_named_as_a_sum() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'\ndice = ['2D6', '1D6', '10D10']");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let drawn = "[...document.querySelectorAll('.felt .die')].map((die) => [
        die.dataset.symbol.replace(/d6-./, 'pips'), die.querySelector('.die-name').textContent,
        die.querySelector('.die-number').textContent === die.querySelector('.die-result').textContent])";
    let expected =
        json!([["cup", "2d6, sum", true], ["pips", "d6", false], ["cup", "10d10, sum", true]]);
    for _ in 0..2 {
        slots_up_to(head(&instance) + 2, &browser, &instance);
        assert_eq!(browser.read(drawn), expected);
    }
}

#[test]
fn other_dice_after_a_restart_appear_on_an_open_page() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'\ndice = ['1D6', '1D20']");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(20, &browser, &instance);
    server.stop();
    instance.configure("every = '100ms'\ndice = ['2D6', '1D20', '1D8']");
    let _server = instance.start();
    let first = head(&instance);
    // All slots have the new dice.
    slots_up_to(first + 20, &browser, &instance);
    let heads = browser.read("document.getElementById('heads').textContent");
    assert_eq!(heads, "2d6 Σd20d8");
}

#[test]
fn the_articles_own_listener_appends_its_entries_to_the_list_of_the_live_page() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(3, &browser, &instance);
    let (_, script) = crate::article::PAGE.split_once("<script>").unwrap();
    let (script, _) = script.split_once("</script>").unwrap();
    browser.execute_async(&format!("{script}; arguments[arguments.length - 1](0)"));
    browser.wait_for("document.querySelectorAll('#rolls > li:not(.slot)').length >= 10");
    let entries =
        "[...document.querySelectorAll('#rolls > li:not(.slot)')].map((li) => li.textContent)";
    let entries: Vec<String> = serde_json::from_value(browser.read(entries)).unwrap();
    for (n, entry) in entries.iter().enumerate() {
        assert!(entry.starts_with(["1D6: ", "1D20: "][n % 2]), "{entries:?}");
    }
    slots(&browser, &instance);
}

#[test]
fn a_button_copies_a_command_with_the_address_of_this_server() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let granted = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser.devtools("Browser.grantPermissions", granted);
    browser.wait_for("!document.querySelector('[data-copies]').hidden");
    for (id, expected) in [
        ("use-curl", format!("curl -N {}", instance.url("/stream/"))),
        ("use-script", format!("new EventSource(\"{}\")", instance.url("/stream/"))),
    ] {
        browser.click(&format!("[data-copies={id}]"));
        browser.wait_for(&format!(
            "document.querySelector('[data-copies={id}]').textContent === 'Copied'"
        ));
        let copied = browser.execute_async(
            "const done = arguments[arguments.length - 1]; navigator.clipboard.readText().then(done)",
        );
        assert!(copied.as_str().unwrap().starts_with(&expected), "{copied}");
    }
}
