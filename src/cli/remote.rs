//! The commands that ask a running Larder: `purge`, `purges`, `inspect`, `stat`.

use std::time::Duration;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::arguments::{PurgeArguments, Reach, RemoteCommand};
use super::client::Client;
use super::{Exit, fail, print, table};
use crate::config::Text;

/// One request of the admin interface's.
struct Question {
    method: Method,
    target: String,
    body: Option<Json>,
    /// How long Larder was asked to wait before it answers.
    wait: Duration,
}

/// Asks, and prints the answer.
pub(super) fn run(command: RemoteCommand) -> Exit {
    let (question, reach) = match command {
        RemoteCommand::Purge(purge) => (purge_question(&purge), purge.reach),
        RemoteCommand::Purges(purges) => {
            let query = purges.limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
            (get(&format!("/v1/purges{query}")), purges.reach)
        }
        RemoteCommand::Inspect(inspect) => {
            let url = utf8_percent_encode(&inspect.url, NON_ALPHANUMERIC);
            (get(&format!("/v1/inspect?url={url}")), inspect.reach)
        }
        RemoteCommand::Stat(stat) => (get("/v1/stat"), stat.reach),
    };
    let answer = match ask(&question, &reach) {
        Ok(answer) => answer,
        Err(message) => return fail(&message),
    };
    if !reach.json {
        return print(&table::render(&answer));
    }
    match serde_json::to_string_pretty(&answer) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error.to_string()),
    }
}

fn get(target: &str) -> Question {
    Question { method: Method::GET, target: target.to_string(), body: None, wait: Duration::ZERO }
}

fn purge_question(purge: &PurgeArguments) -> Question {
    let mut body = json!({
        "urls": purge.urls,
        "any_query": purge.any_query,
        "tags": purge.tags,
        "prefixes": purge.prefixes,
        "hosts": purge.hosts,
        "expression": purge.expression.as_deref().unwrap_or_default(),
        "everything": purge.everything,
        "soft": purge.soft,
        "refetch": purge.refetch,
    });
    if let (Some(wait), Some(body)) = (&purge.wait, body.as_object_mut()) {
        body.insert("wait".to_string(), json!(Text::show(wait)));
    }
    Question {
        method: Method::POST,
        target: "/v1/purge".to_string(),
        body: Some(body),
        wait: purge.wait.unwrap_or_default(),
    }
}

fn ask(question: &Question, reach: &Reach) -> Result<Json, String> {
    let client = Client {
        address: reach.admin.clone(),
        token: reach.token.clone(),
        timeout: reach.timeout + question.wait,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let exchange = client.ask(question.method.clone(), &question.target, question.body.as_ref());
    runtime.block_on(exchange).map_err(|error| error.to_string())
}
