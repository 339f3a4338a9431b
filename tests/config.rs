//! Configuration from outside: what a file comes to, what is reported of a wrong one, and that the
//! reference page says what the program does.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may say "this cannot fail".

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::config::{
    Amount, Environment, ListenAddress, LogFormat, Overrides, Problems, Settings, Severity, Size, Source,
    Text, load, reference, schema,
};
use larder::policy::{BackendIndex, ClientDirectives, Handling};

const GIBIBYTE: u64 = 1 << 30;

fn environment() -> Environment {
    Environment { memory_bytes: Some(64 * GIBIBYTE), variables: HashMap::new() }
}

fn source(text: &str) -> Source {
    Source { name: "larder.toml".to_string(), text: text.to_string() }
}

fn loaded(text: &str) -> Settings {
    let source = source(text);
    match load(Some(&source), Overrides::default(), &environment()) {
        Ok((settings, warnings)) => {
            assert!(warnings.is_empty(), "{}", warnings.render(Some(&source), false));
            settings
        }
        Err(problems) => panic!("{}", problems.render(Some(&source), false)),
    }
}

fn refused(text: &str) -> Problems {
    load(Some(&source(text)), Overrides::default(), &environment()).expect_err("it is wrong")
}

const APP: &str = "[backend.app]\nendpoints = [\"http://127.0.0.1:8000\"]\n";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each `tests/snapshots/config/*.toml` is reported on exactly as the `.txt` beside it says.
/// `UPDATE_SNAPSHOTS=1` writes them anew, to be read before they are committed.
#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let directory = repository().join("tests/snapshots/config");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 5, "the snapshots are missing");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let source = Source { name, text: std::fs::read_to_string(&file).unwrap() };
        let report = match load(Some(&source), Overrides::default(), &environment()) {
            Ok((_, warnings)) => warnings.render(Some(&source), false),
            Err(problems) => problems.render(Some(&source), false),
        };
        let snapshot = file.with_extension("txt");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&snapshot, &report).unwrap();
        }
        let want = std::fs::read_to_string(&snapshot).unwrap_or_default();
        assert_eq!(report, want, "{}", source.name);
    }
}

#[test]
fn one_backend_is_configuration_enough() {
    let settings = loaded(APP);
    assert_eq!(settings.listen, [ListenAddress::parse("0.0.0.0:8080").unwrap()]);
    assert_eq!(settings.memory_bytes, GIBIBYTE);
    assert_eq!(settings.max_object_bytes, GIBIBYTE / 8);
    assert_eq!(&*settings.backends[0].name, "app");
    let route =
        settings.routes.select("any.host", "/any/path", &http::Method::GET, &larder::message::Fields::new());
    assert_eq!((route.number, route.backend, route.handling), (0, BackendIndex(0), Handling::Cache));
    assert_eq!(
        (route.cache.stale_while_revalidate, settings.cache.stale_while_revalidate),
        (Duration::ZERO, None)
    );
    // What was purged softly is used for a moment, unless somebody has said for how long stale responses are.
    assert_eq!(route.cache.soft_purge_window, Duration::from_secs(10));
    for (said, window) in [
        ("stale_while_revalidate = \"0s\"", 0),
        ("stale_while_revalidate = \"30s\"", 30),
        ("soft_purge_window = \"5s\"", 5),
        ("soft_purge_window = \"5s\"\nstale_while_revalidate = \"30s\"", 5),
    ] {
        let settings = loaded(&format!("[cache]\n{said}\n{APP}"));
        let route = settings.routes.select(
            "any.host",
            "/any/path",
            &http::Method::GET,
            &larder::message::Fields::new(),
        );
        assert_eq!(route.cache.soft_purge_window, Duration::from_secs(window), "{said}");
    }
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_the_port_variable() {
    let file = |listen: &str| source(&format!("{listen}\n{APP}"));
    let with_port = |port: &str| Environment {
        variables: [("PORT".to_string(), port.to_string())].into(),
        ..environment()
    };
    let given = Overrides { listen: vec![ListenAddress::parse("unix:/a").unwrap()], ..Overrides::default() };
    for (overrides, listen, port, want) in [
        (given.clone(), "listen = [\":1\"]", "2", "unix:/a"),
        (Overrides::default(), "listen = [\":1\"]", "2", "0.0.0.0:1"),
        (Overrides::default(), "", "2", "0.0.0.0:2"),
        (Overrides::default(), "", "", "0.0.0.0:8080"),
    ] {
        let (settings, _) = load(Some(&file(listen)), overrides, &with_port(port)).unwrap();
        assert_eq!(settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
    }
    let problems = load(Some(&file("")), Overrides::default(), &with_port("many")).unwrap_err();
    assert!(problems.render(None, false).contains("$PORT: \"many\" is not a port"));
}

#[test]
fn a_backend_on_the_command_line_needs_no_file() {
    let overrides = Overrides {
        endpoints: vec![Text::parse("http://a").unwrap(), Text::parse("unix:/b").unwrap()],
        memory: Some(Text::parse("50%").unwrap()),
        log_format: Some(LogFormat::Json),
        ..Overrides::default()
    };
    let (settings, warnings) = load(None, overrides.clone(), &environment()).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(settings.backends.len(), 1);
    assert_eq!(settings.backends[0].settings.endpoints.len(), 2);
    assert_eq!(settings.memory_bytes, 32 * GIBIBYTE);
    assert_eq!(settings.log.format, LogFormat::Json);
    let both = load(Some(&source(APP)), overrides, &environment()).unwrap_err();
    assert!(both.render(None, false).contains("one too many"));
}

#[test]
fn memory_follows_the_host_only_where_nobody_said_how_much() {
    let of = |file: &str, available: Option<u64>| {
        let environment = Environment { memory_bytes: available, variables: HashMap::new() };
        let source = source(&format!("{file}\n{APP}"));
        load(Some(&source), Overrides::default(), &environment)
    };
    let bytes = |file, available| of(file, available).unwrap().0.memory_bytes;
    assert_eq!(bytes("", Some(64 * GIBIBYTE)), GIBIBYTE);
    assert_eq!(bytes("", Some(GIBIBYTE)), GIBIBYTE / 2);
    assert_eq!(bytes("", None), GIBIBYTE);
    assert_eq!(bytes("cache.memory = \"1GiB\"", Some(GIBIBYTE)), GIBIBYTE);
    assert_eq!(bytes("cache.memory = \"25%\"", Some(GIBIBYTE)), GIBIBYTE / 4);
    let (_, warnings) = of("cache.memory = \"2GiB\"", Some(GIBIBYTE)).unwrap();
    assert_eq!(warnings.count(Severity::Warning), 1);
    assert!(of("cache.memory = \"25%\"", None).is_err());
}

#[test]
fn more_connections_than_half_of_the_memory_is_good_for_are_warned_of() {
    let warned = |text: &str, memory: Option<&str>| {
        let environment = Environment { memory_bytes: Some(GIBIBYTE), variables: HashMap::new() };
        let source = source(&format!("{text}\nbackend.app.endpoints = [\"http://127.0.0.1:3000\"]"));
        let memory = memory.map(|memory| Amount::parse(memory).unwrap());
        let overrides = Overrides { memory, ..Overrides::default() };
        let (_, warnings) = load(Some(&source), overrides, &environment).unwrap();
        warnings.render(Some(&source), false)
    };
    for (text, memory) in [
        ("limits.connections = 1000000", None),
        ("limits.connections = 10000", Some("64MiB")),
        ("limits.connections = 2731\ncache.memory = \"64MiB\"", None),
        ("limits.connections = 18446744073709551", None),
    ] {
        let report = warned(text, memory);
        assert!(report.contains("more than half of `memory`"), "{text}: {report}");
        assert!(report.contains("larder.toml:1:"), "{text}: {report}");
    }
    assert!(warned("limits.connections = 10000", Some("64MiB")).contains("2730 take half of it"));
    // Nobody wrote the number, or it is small enough.
    for (text, memory) in [
        ("", None),
        ("", Some("16MiB")),
        ("cache.memory = \"64MiB\"", None),
        ("cache.memory = \"64MiB\"\nlimits.connections = 2730", None),
    ] {
        assert_eq!(warned(text, memory), "", "{text}");
    }
}

#[test]
fn a_route_has_its_own_rules_and_the_caches_where_it_has_none() {
    let settings = loaded(
        r#"
        [cache]
        default_ttl = "1m"
        stale_if_error = "2m"
        [backend.app]
        endpoints = ["http://a"]
        [backend.default]
        endpoints = ["http://b"]
        [[route]]
        match = { host = ["example.com", "*.example.com"], path = "/static/**", method = "GET" }
        backend = "app"
        cache = { ttl = "1h", stale_if_error = "3m", client_directives = "honour", query = { drop = ["utm_*"], sort = true } }
        [[route]]
        match.path = "/admin/**"
        pass = true
        "#,
    );
    let select =
        |host, path| settings.routes.select(host, path, &http::Method::GET, &larder::message::Fields::new());
    let route = select("www.example.com", "/static/a");
    assert_eq!((route.number, route.backend), (1, BackendIndex(0)));
    assert_eq!(route.cache.ttl.unwrap().as_secs(), 3600);
    assert_eq!(route.cache.default_ttl.unwrap().as_secs(), 60);
    assert_eq!(route.cache.stale_if_error.as_secs(), 180);
    assert_eq!(route.cache.client_directives, ClientDirectives::Honour);
    assert_eq!(route.cache.query.normalise("b=1&utm_source=x&a=2"), "a=2&b=1");
    let route = select("example.com", "/admin/x");
    assert_eq!((route.number, route.backend, route.handling), (2, BackendIndex(1), Handling::Pass));
    assert_eq!(route.cache.stale_if_error.as_secs(), 120);
    assert_eq!(select("example.com", "/").number, 0);
}

#[test]
fn tokens_come_from_a_file_and_from_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, "# deployment\ndeploy:0123456789abcdef0123\n\nfedcba98765432100123\n").unwrap();
    let text = format!("admin_tokens_env = \"TOKENS\"\n{APP}[purge]\ntokens_file = {path:?}\n");
    let variables = [("TOKENS".to_string(), "aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb".to_string())].into();
    let environment = Environment { variables, ..environment() };
    let (settings, _) = load(Some(&source(&text)), Overrides::default(), &environment).unwrap();
    assert_eq!(settings.purge.tokens.len(), 2);
    assert_eq!(settings.purge.tokens[0].name, "deploy");
    assert_eq!(settings.purge.tokens[0].reveal(), "0123456789abcdef0123");
    assert_eq!(settings.admin.tokens.len(), 2);
    assert!(!format!("{settings:?}").contains("0123456789abcdef"), "a secret is shown");
}

/// What cannot be a single mistake of one value: tables of one problem each.
#[test]
fn contradictions_are_errors() {
    for (text, message) in [
        ("", "there is no backend"),
        ("listen = [\":80\", \"127.0.0.1:80\"]", "cannot both be listened on"),
        ("listen = [\"127.0.0.1:8081\"]", "cannot share 127.0.0.1:8081 with clients"),
        ("cache = { memory = \"1MiB\", max_object = \"2MiB\" }", "larger than `memory`"),
        ("backend.a.endpoints = []", "at least one endpoint"),
        ("backend.\"a b\".endpoints = [\"http://a\"]", "a name is made of letters"),
        ("backend = 1", "expected a table for each name, found a number"),
        ("route = 1", "expected a list, found a number"),
        ("limits = \"none\"", "expected a table of settings"),
        ("purge.tokens_env = \"UNSET\"", "the environment variable UNSET is not set"),
        (
            "[backend.a]\nendpoints = [\"http://a\"]\n[backend.b]\nendpoints = [\"http://b\"]",
            "which backend takes",
        ),
    ] {
        let report = refused(text).render(None, false);
        assert!(report.contains(message), "{text}: {report}");
    }
}

#[test]
fn the_committed_reference_is_what_the_program_prints() {
    let path = repository().join("docs/configuration.md");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == reference(), "run `larder config reference > docs/configuration.md`");
}

#[test]
fn the_references_example_is_a_sound_configuration() {
    let page = reference();
    let example = page.split("```").nth(1).unwrap().strip_prefix("toml\n").unwrap();
    let settings = loaded(example);
    assert_eq!(settings.backends[0].settings.endpoints.len(), 3);
}

/// A setting of the reference page: its table's heading, its key, and its default as written there.
struct Row {
    heading: String,
    key: String,
    default: Option<String>,
}

fn rows() -> Vec<Row> {
    let page = reference();
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.trim_matches('`').to_string();
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        let [key, _, default, ..] = cells[..] else { continue };
        let Some(key) = key.strip_prefix("| `").and_then(|key| key.strip_suffix('`')) else { continue };
        let default =
            default.strip_prefix('`').and_then(|text| text.strip_suffix('`')).map(ToString::to_string);
        rows.push(Row { heading: heading.clone(), key: key.to_string(), default });
    }
    rows
}

/// The reference page's defaults, written out as a file, come to the same as leaving them all out.
#[test]
fn every_default_in_the_reference_is_the_default() {
    let rows = rows();
    assert!(rows.len() > 80, "only {} settings were found", rows.len());
    let mut all = String::new();
    let mut heading = "Before any table";
    for row in &rows {
        if row.heading != heading {
            heading = &row.heading;
            all.push_str(&heading.replace("NAME", "app"));
            all.push('\n');
            if heading.contains("backend") {
                all.push_str("endpoints = [\"http://a\"]\n");
            }
        }
        if let Some(default) = &row.default {
            all.push_str(&format!("{} = {default}\n", row.key));
        }
    }
    let without = "[backend.app]\nendpoints = [\"http://a\"]\nprobe = {}\n[[route]]\n";
    assert_eq!(format!("{:#?}", loaded(&all)), format!("{:#?}", loaded(without)));
}

#[test]
fn the_schema_knows_every_setting_of_the_reference() {
    let schema = serde_json::to_value(schema()).unwrap();
    for row in rows() {
        let table = row.heading.trim_matches(['[', ']']).replace(".NAME", "");
        let mut at = &schema;
        if row.heading != "Before any table" {
            at = &at["properties"][table.as_str()];
        }
        for key in row.key.split('.') {
            for inner in ["items", "additionalProperties"] {
                if at[inner].is_object() {
                    at = &at[inner];
                }
            }
            at = &at["properties"][key];
            assert!(at["description"].is_string(), "{} {}", row.heading, row.key);
        }
    }
}

#[test]
fn a_size_shown_is_a_size_read() {
    assert_eq!(Size::parse(&Size::mib(3).to_string()), Ok(Size::mib(3)));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever stands in a file, there is an answer, and its report can be drawn.
        #[test]
        fn no_file_makes_the_reader_panic(text in "([a-z\\[\\]{}=\". \n\u{e9}]|listen|\\[cache\\]|memory|\\[\\[route\\]\\]|match|backend|\"1GiB\"|80){0,40}") {
            let source = source(&text);
            let problems = match load(Some(&source), Overrides::default(), &environment()) {
                Ok((_, warnings)) => warnings,
                Err(problems) => {
                    prop_assert!(problems.any_error());
                    problems
                }
            };
            let _ = problems.render(Some(&source), true);
        }

        /// A misspelt setting is never taken silently.
        #[test]
        fn an_unknown_setting_is_always_an_error(key in "[a-z_]{1,12}") {
            prop_assume!(!rows().iter().any(|row| row.heading == "[cache]" && row.key == key));
            let report = refused(&format!("{APP}[cache]\n{key} = 1\n")).render(None, false);
            let unknown = format!("unknown setting `{key}`");
            prop_assert!(report.contains(&unknown), "{}", report);
        }
    }
}

/// A wrong line, and what its help says; each was once a riddle to somebody.
#[test]
fn what_people_bring_along_from_elsewhere_is_answered_with_what_it_is_here() {
    let app = "[backend.app]\nendpoints = [\"http://a\"]\n";
    for (file, help) in [
        (format!("{app}probe = {{ url = \"/healthz\" }}\n"), "here it is called `path`"),
        (format!("{app}healthcheck = {{}}\n"), "here it is called `probe`"),
        (
            format!("{app}listen = [\":80\"]\n"),
            "`listen` stands before all tables: move it above the first line with `[…]`",
        ),
        (
            format!("{app}[cache]\nbind = \":80\"\n"),
            "`listen` stands before all tables: move it above the first line with `[…]`",
        ),
        (
            format!("{app}[route]\nmatch = {{ path = \"/x\" }}\n"),
            "there may be several: write its name in two pairs of brackets, as in [[route]]",
        ),
        (
            format!("{app}[[route]]\nmatch = {{ path = \"*.css\" }}\n"),
            "write \"/**/*.css\" for files of that name in any folder",
        ),
        (format!("{app}[[route]]\nmatch = {{ path = \"^/static/.*\" }}\n"), "write \"/static/**\""),
        (format!("{app}[[route]]\nmatch = {{ path = \"^/static/\" }}\n"), "write \"/static/**\""),
        (format!("{app}[[route]]\nmatch = {{ path = \"^/feed\\\\.xml$\" }}\n"), "write \"/feed.xml\""),
        (
            format!("{app}[[route]]\nmatch = {{ path = \"^/(a|b)/\" }}\n"),
            "`*` stands for any characters; several patterns are written as a list",
        ),
        (format!("{app}[[route]]\ncache = {{ query = {{ drop = [\"^utm_.*\"] }} }}\n"), "write \"utm_*\""),
        (
            format!("{app}[log]\naccess = \"/no/such/folder/access.log\"\n"),
            "make it first, for the user that Larder runs as",
        ),
        (format!("{app}[log]\naccess = \"/tmp\"\n"), "write the path of a file in it"),
        (format!("{app}[log]\naccess = \"/tmp/no-such-log/\"\n"), "write the path of a file in it"),
        ("[backend.app]\nendpoints = [\"22012\"]\n".into(), "write \"http://127.0.0.1:22012\""),
        ("[backend.app]\nendpoints = [\"http://::1:8000\"]\n".into(), "write \"http://[::1]:8000\""),
    ] {
        let problems = refused(&file).render(Some(&source(&file)), false);
        assert!(problems.contains(&format!("help: {help}\n")), "{file}\n{problems}");
        assert_eq!(problems.matches("error: ").count(), 1, "{problems}");
    }
}

#[test]
fn more_uploads_than_connections_are_warned_of() {
    for (uploads, expected) in [(2, 0), (3, 1)] {
        let file = format!("{APP}max_connections = 2\nmax_uploads = {uploads}\n");
        let loaded = load(Some(&source(&file)), Overrides::default(), &environment());
        let (_, warnings) = loaded.unwrap_or_else(|_| panic!("it is usable"));
        assert_eq!(warnings.count(Severity::Warning), expected);
    }
}

#[test]
fn a_route_has_a_name_of_its_own_that_stands_in_metrics() {
    let settings =
        loaded(&format!("{APP}[[route]]\nname = \"static\"\nmatch = {{ path = \"/static/**\" }}\n"));
    let route = settings.routes.select("a", "/static/x", &http::Method::GET, &larder::message::Fields::new());
    assert_eq!(route.name.as_deref(), Some("static"));
    for (routes, said) in [
        ("[[route]]\nname = \"a b\"\n", "a name has 1 to 64 letters"),
        ("[[route]]\nname = \"7\"\n", "a name has 1 to 64 letters"),
        ("[[route]]\nname = \"\"\n", "this is empty"),
        (
            "[[route]]\nname = \"x\"\nmatch = { path = \"/x\" }\n[[route]]\nname = \"x\"\n",
            "route 1 has this name already",
        ),
    ] {
        let file = format!("{APP}{routes}");
        let report = refused(&file).render(Some(&source(&file)), false);
        assert!(report.contains(said), "{report}");
    }
}
