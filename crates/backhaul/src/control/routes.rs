//! What the control socket answers to which request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use backhaul_store::Books;
use serde::de::DeserializeOwned;

use super::desk::{Desk, Forwarding};
use super::keeper::Keeper;
use super::message::{
    Changed, Clean, Cleaned, Discard, Done, Overview, Retry, Switched, Sync, TurnOn,
};
use super::refused::Refused;
use crate::exit;
use crate::hub_address;
use crate::metrics;
use crate::record_name::RecordName;
use crate::synced::Synced;

/// Below this path is what the process serves over TCP.
pub(super) const INTAKE: &str = "/intake";

/// The largest request: ids of some ten thousand records.
const MAX_REQUEST_BYTES: usize = 1 << 20;

type At = State<Arc<Desk>>;
type Answer<T> = Result<Json<T>, Refused>;

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/retry", post(retry))
        .route("/v1/drop", post(discard))
        .route("/v1/done", post(done))
        .route("/v1/clean", post(clean))
        .route("/v1/sync", post(sync))
        .route("/v1/outage", get(show_outage).put(turn_on).delete(turn_off))
        .route("/metrics", get(show_metrics));
    #[cfg(feature = "cli")]
    let router = router
        .route("/v1/import", post(import))
        .route("/v1/drop-carried", post(drop_carried))
        .route("/v1/repair", post(repair));
    let router = router
        .fallback(async |uri: Uri| {
            let reason = format!("there is nothing at {}: see docs/control.md", uri.path());
            Refused::new(StatusCode::NOT_FOUND, reason)
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let reason = format!("{method} is not for {}", uri.path());
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        })
        .with_state(Arc::clone(&desk));
    match desk.intake.clone() {
        Some(intake) => router.nest(INTAKE, intake),
        None => router,
    }
}

async fn status(State(desk): At) -> Answer<Overview> {
    blocking(move || Ok(desk.overview()?)).await
}

async fn show_metrics(State(desk): At) -> Result<Response, Refused> {
    let Json(text) = blocking(move || Ok((desk.metrics)()?)).await?;
    Ok((metrics::CONTENT_TYPE, text).into_response())
}

async fn retry(State(desk): At, request: Request) -> Answer<Changed> {
    let asked: Retry = read(request).await?;
    if asked.all != asked.ids.is_empty() {
        return Err(Refused::bad_request("expected either ids, or all = true"));
    }
    let names = names(&asked.ids)?;
    let changed = act(&desk, move |keeper| {
        Ok(if asked.all { keeper.retry_all() } else { keeper.retry(&names) }?)
    })
    .await?;
    desk.wake_courier();
    Ok(changed)
}

async fn discard(State(desk): At, request: Request) -> Answer<Changed> {
    let asked: Discard = read(request).await?;
    if asked.ids.is_empty() {
        return Err(Refused::bad_request("ids is empty: expected the records to drop"));
    }
    let names = names(&asked.ids)?;
    act(&desk, move |keeper| Ok(keeper.drop_records(&names)?)).await
}

async fn done(State(desk): At, request: Request) -> Answer<Changed> {
    let asked: Done = read(request).await?;
    if asked.ids.is_empty() {
        return Err(Refused::bad_request("ids is empty: expected the calls that were done"));
    }
    let names = names(&asked.ids)?;
    act(&desk, move |keeper| {
        keeper.done(&names).map_err(|error| match exit::store_error(&error) {
            Some(error) => error.clone().into(),
            None => Refused::bad_request(format!("{error:#}")),
        })
    })
    .await
}

async fn clean(State(desk): At, request: Request) -> Answer<Cleaned> {
    let asked: Clean = read(request).await?;
    let age = Duration::from_secs(asked.older_than_seconds);
    act(&desk, move |keeper| {
        keeper.clean(age).map_err(|error| match exit::store_error(&error) {
            Some(error) => error.clone().into(),
            None => Refused::unavailable(format!("{error:#}")),
        })
    })
    .await
}

#[cfg(feature = "cli")]
async fn import(State(desk): At, request: Request) -> Answer<backhaul_store::Imported> {
    let super::message::Bundled { file, spool } = read(request).await?;
    let imported = act(&desk, move |keeper| {
        keeper.import(&file, &spool).map_err(|error| Refused::bad_request(format!("{error:#}")))
    })
    .await?;
    desk.wake_courier();
    Ok(imported)
}

#[cfg(feature = "cli")]
async fn drop_carried(State(desk): At, request: Request) -> Answer<Changed> {
    let super::message::Bundled { file, spool } = read(request).await?;
    act(&desk, move |keeper| {
        let dropped = keeper.drop_carried(&file, &spool);
        dropped.map_err(|error| Refused::bad_request(format!("{error:#}")))
    })
    .await
}

#[cfg(feature = "cli")]
async fn repair(State(desk): At, request: Request) -> Answer<serde_json::Value> {
    let super::message::Repair { backup } = read(request).await?;
    act(&desk, move |keeper| {
        let mended = keeper.repair(&backup);
        mended.map_err(|error| match exit::store_error(&error) {
            Some(error) => error.clone().into(),
            None => Refused::unavailable(format!("{error:#}")),
        })?;
        Ok(serde_json::json!({}))
    })
    .await
}

async fn sync(State(desk): At, request: Request) -> Answer<Synced> {
    let asked: Sync = read(request).await?;
    let Some(Forwarding { courier, url, .. }) = desk.forwarding.clone() else {
        let reason = "this process delivers to nobody: it was started without --runs-url";
        return Err(Refused::new(StatusCode::NOT_FOUND, reason));
    };
    if let Some(wanted) = asked.runs_url
        && hub_address::shown(&wanted) != url
    {
        let process = std::process::id();
        let reason = format!(
            "the process that serves here ({process}) delivers to {url}: leave --runs-url out, or \
             stop it"
        );
        return Err(Refused::bad_request(reason));
    }
    let before = books(&desk).await?;
    let report = courier.sync_now().await;
    blocking(move || Ok(Synced::new(&report, &before, desk.spool()))).await
}

async fn books(desk: &Arc<Desk>) -> Result<Books, Refused> {
    let desk = Arc::clone(desk);
    let Json(books) = blocking(move || Ok(desk.spool().status()?.books)).await?;
    Ok(books)
}

async fn show_outage(State(desk): At) -> Answer<Switched> {
    blocking(move || Ok(Switched { outage: desk.outage.report() })).await
}

async fn turn_on(State(desk): At, request: Request) -> Answer<Switched> {
    let asked: TurnOn = read(request).await?;
    if asked.for_seconds == Some(0) {
        return Err(Refused::bad_request("for_seconds is 0: expected at least 1, or none"));
    }
    blocking(move || {
        let time = asked.for_seconds.map(Duration::from_secs);
        desk.outage.turn_on(time).map_err(|error| Refused::unavailable(format!("{error:#}")))?;
        let outage = desk.outage.report();
        tracing::info!(for_seconds = asked.for_seconds, "the outage switch was turned on");
        Ok(Switched { outage })
    })
    .await
}

async fn turn_off(State(desk): At) -> Answer<Switched> {
    let of_switch = Arc::clone(&desk.outage);
    let switched = blocking(move || {
        of_switch.turn_off().map_err(|error| Refused::unavailable(format!("{error:#}")))?;
        tracing::info!("the outage switch was turned off");
        Ok(Switched { outage: of_switch.report() })
    })
    .await?;
    desk.wake_courier();
    Ok(switched)
}

/// Does something to the spool.
async fn act<T: Send + 'static>(
    desk: &Arc<Desk>,
    work: impl FnOnce(&Keeper) -> Result<T, Refused> + Send + 'static,
) -> Answer<T> {
    let desk = Arc::clone(desk);
    blocking(move || work(&desk.keeper)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Answer<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    let broken = |error| Refused::unavailable(format!("the request failed: {error}"));
    worked.map_err(broken)?.map(Json)
}

/// The body of a request; an empty one says nothing but defaults.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refused> {
    let bad = |error: &dyn std::fmt::Display| Refused::bad_request(format!("bad request: {error}"));
    let body = axum::body::to_bytes(request.into_body(), MAX_REQUEST_BYTES).await;
    let body = body.map_err(|error| bad(&error))?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| bad(&error))
}

fn names(ids: &[String]) -> Result<Vec<RecordName>, Refused> {
    let parse = |id: &String| {
        id.parse().map_err(|error: anyhow::Error| Refused::bad_request(format!("{error:#}")))
    };
    ids.iter().map(parse).collect()
}
