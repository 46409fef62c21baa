//! Spans of HTTP requests, as a collector receives them.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, OnceLock};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::kit::{Alone, ask, get, until};

/// What the collector has received: each span with the attributes of its resource.
static RECEIVED: Mutex<Vec<(Vec<KeyValue>, Span)>> = Mutex::new(Vec::new());

/// A collector for the whole process: it understands the request of OTLP's gRPC, and answers that all is well.
pub fn collector() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let server = HttpServer::new(|| {
                let payload = web::PayloadConfig::new(16 * 1024 * 1024);
                App::new().app_data(payload).default_service(web::to(receive))
            });
            let server = server.workers(1).disable_signals().listen_auto_h2c(listener).unwrap();
            actix_web::rt::System::new().block_on(server.run())
        });
        address
    })
}

async fn receive(request: HttpRequest, body: web::Bytes) -> HttpResponse {
    assert_eq!(request.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    // A gRPC message has a flag for compression and a length of four bytes before it.
    let export = ExportTraceServiceRequest::decode(&body[5..]).unwrap();
    let mut received = RECEIVED.lock().unwrap();
    for of_resource in export.resource_spans {
        let resource = of_resource.resource.unwrap_or_default().attributes;
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.extend(spans.map(|span| (resource.clone(), span)));
    }
    HttpResponse::Ok().insert_header(("content-type", "application/grpc")).insert_header(("grpc-status", "0")).finish()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    }
}

/// Waits for the span of a trace.
async fn span_of(trace: &str) -> (Vec<KeyValue>, Span) {
    let is_it = |span: &Span| hex::encode(&span.trace_id) == trace;
    let find = || RECEIVED.lock().unwrap().iter().find(|(_, span)| is_it(span)).cloned();
    until("the span", async || {
        tokio::task::spawn_blocking(dtvn::telemetry::traces::flush).await.unwrap();
        find().is_some()
    })
    .await;
    find().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_in_the_trace_of_its_client() {
    let alone = Alone::start(|_| {}).await;
    alone.until_ready().await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let traceparent = format!("00-{trace}-{parent}-01");
    let headers = [("Content-Type", "application/json"), ("traceparent", traceparent.as_str())];
    let answer = ask(alone.api, "POST", "/api/v1/tickets", &headers, r#"{"ticket_id":"T-1"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (resource, span) = span_of(trace).await;
    assert_eq!(span.name, "POST /api/v1/tickets");
    assert_eq!(hex::encode(&span.parent_span_id), parent);
    assert_eq!(text(&span.attributes, "http.route"), "/api/v1/tickets");
    assert_eq!(text(&span.attributes, "http.response.status_code"), "200");
    assert_eq!(
        (text(&resource, "service.name"), text(&resource, "service.instance.id")),
        ("dtvn".to_owned(), "node0".to_owned())
    );
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_no_trace_gets_none() {
    let alone = Alone::start(|_| {}).await;
    let (silent, wanted) = ("0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c");
    for (trace, flags) in [(silent, "00"), (wanted, "01")] {
        let traceparent = format!("00-{trace}-b7ad6b7169203331-{flags}");
        ask(alone.api, "GET", "/api/v1/status", &[("traceparent", &traceparent)], "").await;
    }
    assert_eq!(get(alone.api, "/health").await.json()["status"].as_str().map(str::is_empty), Some(false));
    let (_, span) = span_of(wanted).await;
    assert_eq!(span.name, "GET /api/v1/status");
    let is_there = RECEIVED.lock().unwrap().iter().any(|(_, span)| hex::encode(&span.trace_id) == silent);
    assert!(!is_there, "it came before the one that is there");
    alone.stop().await;
}
