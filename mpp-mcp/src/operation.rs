//! What a call asks for, and what a credential is bound to.

use serde_json::Value;

/// The MCP method that calls a tool.
pub const TOOLS_CALL: &str = "tools/call";
/// The MCP method that reads a resource.
pub const RESOURCES_READ: &str = "resources/read";
/// The MCP method that gets a prompt.
pub const PROMPTS_GET: &str = "prompts/get";

/// One thing that can be sold: a tool, a resource, a prompt or, outside of
/// MCP, a method.
///
/// # Examples
///
/// ```
/// use mpp_mcp::Operation;
/// use serde_json::json;
///
/// let params = json!({"name": "search", "arguments": {"query": "tempo"}});
/// let operation = Operation::of("tools/call", Some(&params));
/// assert_eq!(operation, Operation::Tool("search".into()));
/// assert_eq!(operation.scope(), "mcp:tools/call:search");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `tools/call`, by the tool's name.
    Tool(String),
    /// `resources/read`, by the resource's URI.
    Resource(String),
    /// `prompts/get`, by the prompt's name.
    Prompt(String),
    /// Any other method of JSON-RPC.
    Method(String),
}

impl Operation {
    /// The operation of a call.
    ///
    /// A covered method without the member that names its object is a method
    /// like any other.
    #[must_use]
    pub fn of(method: &str, params: Option<&Value>) -> Self {
        let member = |name: &str| {
            let value = params.and_then(|params| params.get(name)?.as_str());
            value.map(str::to_owned)
        };
        let covered = match method {
            TOOLS_CALL => member("name").map(Self::Tool),
            RESOURCES_READ => member("uri").map(Self::Resource),
            PROMPTS_GET => member("name").map(Self::Prompt),
            _ => None,
        };
        covered.unwrap_or_else(|| Self::Method(method.to_owned()))
    }

    /// The method of JSON-RPC.
    #[must_use]
    pub fn method(&self) -> &str {
        match self {
            Self::Tool(_) => TOOLS_CALL,
            Self::Resource(_) => RESOURCES_READ,
            Self::Prompt(_) => PROMPTS_GET,
            Self::Method(method) => method,
        }
    }

    /// Whether MCP says where `_meta` stands: nested, not at the root.
    #[must_use]
    pub const fn is_mcp(&self) -> bool {
        !matches!(self, Self::Method(_))
    }

    /// What challenges for the operation are bound to, so that a credential
    /// for one tool never opens another (SECURITY-CASES A3).
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::Tool(name) | Self::Resource(name) | Self::Prompt(name) => {
                format!("mcp:{}:{name}", self.method())
            }
            Self::Method(method) => format!("rpc:{method}"),
        }
    }

    /// A result of this operation that says nothing: the answer to a call that
    /// only managed a channel.
    #[must_use]
    pub fn empty_result(&self) -> Value {
        match self {
            Self::Tool(_) => serde_json::json!({ "content": [] }),
            Self::Resource(_) => serde_json::json!({ "contents": [] }),
            Self::Prompt(_) => serde_json::json!({ "messages": [] }),
            Self::Method(_) => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_have_scopes_of_their_own() {
        let all = [
            Operation::of("tools/call", Some(&json!({"name": "a"}))),
            Operation::of("tools/call", Some(&json!({"name": "b"}))),
            Operation::of("prompts/get", Some(&json!({"name": "a"}))),
            Operation::of("resources/read", Some(&json!({"uri": "a"}))),
            Operation::of("tools/call:a", None),
            Operation::of("mcp:tools/call:a", None),
            Operation::of("tools/call", None),
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(one.scope(), other.scope());
            }
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_no_name() {
        for params in [json!({"name": 1}), json!({"uri": "a"}), json!(["a"])] {
            let operation = Operation::of("tools/call", Some(&params));
            assert_eq!(operation, Operation::Method("tools/call".into()));
        }
    }
}
