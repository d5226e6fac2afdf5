//! Where the context of a model call came from.

use serde_json::{Map, Value};

use crate::fields::{FieldError, Fields, Spelling};
use crate::shape::{Node, Shape};
use crate::{id, time};

/// One source that was considered for the context of a model call.
///
/// A [`ProvenanceLink`] holds sources as JSON, because upstream does not fix their form
/// there; [`SourceReference::to_value`] makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceReference {
    /// Which source.
    pub source_id: String,
    /// What kind of source.
    pub source_type: String,
    /// Its size in tokens.
    pub token_count: u64,
    /// Its rank; higher goes first. Default 0.
    pub priority: i64,
    /// Whether it was put into the context. Default true.
    pub included: bool,
    /// Why not.
    pub exclusion_reason: Option<String>,
}

impl SourceReference {
    /// A source that was put into the context.
    pub fn new(
        source_id: impl Into<String>,
        source_type: impl Into<String>,
        token_count: u64,
    ) -> Self {
        Self {
            source_id: source_id.into(),
            source_type: source_type.into(),
            token_count,
            priority: 0,
            included: true,
            exclusion_reason: None,
        }
    }

    /// Says that the source was left out, and why.
    #[must_use]
    pub fn excluded(mut self, reason: impl Into<String>) -> Self {
        self.included = false;
        self.exclusion_reason = Some(reason.into());
        self
    }

    /// The reference as JSON, every key.
    pub fn to_value(&self) -> Value {
        serde_json::json!({
            "source_id": self.source_id,
            "source_type": self.source_type,
            "token_count": self.token_count,
            "priority": self.priority,
            "included": self.included,
            "exclusion_reason": self.exclusion_reason,
        })
    }
}

impl From<SourceReference> for Value {
    fn from(reference: SourceReference) -> Self {
        reference.to_value()
    }
}

/// What one model call was made of: its sources, patches and citations, and its cost.
///
/// ```
/// use backhaul_agent::{ProvenanceLink, SourceReference};
///
/// let link = ProvenanceLink::new("llm_1")
///     .context_source(SourceReference::new("manual", "document", 800))
///     .patch_id("patch_1")
///     .cost_usd(0.002);
/// assert_eq!(link.to_value()["context_sources"][0]["source_id"], "manual");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenanceLink {
    /// `prov_` and hex digits.
    pub id: String,
    /// The [`LlmCall`](crate::LlmCall) that it is about.
    pub llm_call_id: String,
    /// The node of the DAG that made the call.
    pub node_id: Option<String>,
    /// The agent that made the call.
    pub agent_id: Option<String>,
    /// The sources, as JSON.
    pub context_sources: Vec<Value>,
    /// A hash of the context.
    pub context_hash: String,
    /// Ids of citations in the output.
    pub citation_ids: Vec<String>,
    /// Ids of the patches that the context was made of.
    pub patch_ids: Vec<String>,
    /// How much of the token budget was used: 1.0 is all of it.
    pub budget_utilization: f64,
    /// What the call cost, in US dollars.
    pub cost_usd: f64,
    /// When: a text here, as upstream has it.
    pub timestamp: String,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    spelling: Spelling,
}

impl ProvenanceLink {
    /// A link for one model call, now.
    pub fn new(llm_call_id: impl Into<String>) -> Self {
        Self {
            id: id::generate("prov"),
            llm_call_id: llm_call_id.into(),
            node_id: None,
            agent_id: None,
            context_sources: Vec::new(),
            context_hash: String::new(),
            citation_ids: Vec::new(),
            patch_ids: Vec::new(),
            budget_utilization: 0.0,
            cost_usd: 0.0,
            timestamp: time::isoformat(time::now()),
            extra: Map::new(),
            spelling: Spelling::default(),
        }
    }

    /// Adds a source.
    #[must_use]
    pub fn context_source(mut self, source: impl Into<Value>) -> Self {
        self.context_sources.push(source.into());
        self
    }

    /// Adds a patch.
    #[must_use]
    pub fn patch_id(mut self, patch_id: impl Into<String>) -> Self {
        self.patch_ids.push(patch_id.into());
        self
    }

    /// Says what the call cost, in US dollars.
    #[must_use]
    pub fn cost_usd(mut self, cost_usd: f64) -> Self {
        self.cost_usd = cost_usd;
        self
    }

    /// The link as JSON: every key, in upstream's order, then `extra`.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a link; only `llm_call_id` is required, a missing time is now.
    ///
    /// # Errors
    /// When `llm_call_id` is missing or a field holds something unexpected.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, time::now())?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let mut link = Self {
            id: fields.text_or_else("id", || id::generate("prov"))?,
            llm_call_id: fields.required_text("llm_call_id")?,
            node_id: fields.optional_text("node_id")?,
            agent_id: fields.optional_text("agent_id")?,
            context_sources: fields.list("context_sources")?,
            context_hash: fields.text("context_hash")?,
            citation_ids: fields.texts("citation_ids")?,
            patch_ids: fields.texts("patch_ids")?,
            budget_utilization: fields.float("budget_utilization")?,
            cost_usd: fields.float("cost_usd")?,
            timestamp: fields.time_text("timestamp")?,
            extra: Map::new(),
            spelling: Spelling::default(),
        };
        (link.extra, link.spelling) = fields.finish();
        Ok(link)
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("id", &self.id)
            .text("llm_call_id", &self.llm_call_id)
            .optional_text("node_id", self.node_id.as_deref())
            .optional_text("agent_id", self.agent_id.as_deref())
            .node("context_sources", Node::values(&self.context_sources))
            .text("context_hash", &self.context_hash)
            .node("citation_ids", Node::texts(&self.citation_ids))
            .node("patch_ids", Node::texts(&self.patch_ids))
            .float("budget_utilization", self.budget_utilization)
            .float("cost_usd", self.cost_usd)
            .text("timestamp", &self.timestamp);
        shape.finish(&self.extra)
    }
}

/// The provenance of every model call of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenanceChain {
    /// The run.
    pub run_id: String,
    /// Its links, oldest first.
    pub links: Vec<ProvenanceLink>,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    spelling: Spelling,
}

impl ProvenanceChain {
    /// A chain without links.
    pub fn new(run_id: impl Into<String>) -> Self {
        Self {
            run_id: run_id.into(),
            links: Vec::new(),
            extra: Map::new(),
            spelling: Spelling::default(),
        }
    }

    /// The chain as JSON.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a chain; a missing `run_id` is empty.
    ///
    /// # Errors
    /// When a field holds something unexpected.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, time::now())?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let run_id = fields.text("run_id")?;
        let links = fields.list_of("links", ProvenanceLink::read)?;
        let (extra, spelling) = fields.finish();
        Ok(Self { run_id, links, extra, spelling })
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("run_id", &self.run_id)
            .node("links", Node::list(&self.links, ProvenanceLink::shape));
        shape.finish(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chain_reads_back_with_unknown_keys() {
        let mut chain = ProvenanceChain::new("run");
        let mut link = ProvenanceLink::new("llm_1").patch_id("p");
        link.extra.insert("later".into(), json!([1]));
        chain.links.push(link);
        chain.extra.insert("more".into(), json!(null));
        assert_eq!(ProvenanceChain::from_value(chain.to_value()), Ok(chain));
    }

    #[test]
    fn a_wrong_item_is_named_with_its_place() {
        let document =
            json!({"links": [{"llm_call_id": "a"}, {"llm_call_id": "b", "patch_ids": [1]}]});
        let error = ProvenanceChain::from_value(document).unwrap_err();
        assert_eq!(error.to_string(), "`links[1].patch_ids[0]`: found 1, expected text");
    }

    #[test]
    fn excluded_source_says_why() {
        let value = SourceReference::new("s", "memory", 3).excluded("over budget").to_value();
        assert_eq!(value["included"], false);
        assert_eq!(value["exclusion_reason"], "over budget");
    }
}
