//! [`PaidServer`] as a handler: three methods are sold, all others pass.

#![expect(deprecated, reason = "what is deprecated passes as well as the rest")]

use std::{borrow::Cow, future::Future};

use ::rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, CancelledNotificationParam,
        CompleteRequestParams, CompleteResult, CustomNotification, CustomRequest, CustomResult,
        DiscoverResult, ErrorData, GetPromptRequestParams, GetPromptResponse,
        GetSkillRequestParams, GetSkillResult, GetTaskParams, GetTaskResult,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListSkillsResult, ListToolsResult, PaginatedRequestParams,
        ProgressNotificationParam, ProtocolVersion, ReadResourceDirectoryRequestParams,
        ReadResourceDirectoryResult, ReadResourceRequestParams, ReadResourceResponse, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};

use super::PaidServer;

/// Methods that go to the handler as they come.
macro_rules! pass {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(
            fn $name(
                &self,
                $($argument: $type,)*
            ) -> impl Future<Output = $output> + Send + '_ {
                self.handler.$name($($argument),*)
            }
        )*
    };
}

type Context = RequestContext<RoleServer>;
type Notice = NotificationContext<RoleServer>;
type Page = Option<PaginatedRequestParams>;

impl<H: ServerHandler> ServerHandler for PaidServer<H> {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        self.sell(request, context).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.sell(request, context).await
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.sell(request, context).await
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: Context,
    ) -> Result<CustomResult, ErrorData> {
        self.check_custom(&request)?;
        self.handler.on_custom_request(request, context).await
    }

    async fn on_custom_notification(&self, notification: CustomNotification, context: Notice) {
        if self.is_paid(&notification) {
            tracing::debug!("a notification of a paid operation was dropped");
            return;
        }
        self.handler
            .on_custom_notification(notification, context)
            .await;
    }

    fn get_info(&self) -> ServerConfig {
        let mut info = self.handler.get_info();
        self.advertise(&mut info.capabilities.experimental);
        info
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: Context,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.handler.initialize(request, context).await?;
        self.advertise(&mut result.capabilities.experimental);
        Ok(result)
    }

    fn negotiate_initialize(
        &self,
        request: &InitializeRequestParams,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.handler.negotiate_initialize(request)?;
        self.advertise(&mut result.capabilities.experimental);
        Ok(result)
    }

    async fn discover(&self, context: Context) -> Result<DiscoverResult, ErrorData> {
        let mut result = self.handler.discover(context).await?;
        self.advertise(&mut result.capabilities.experimental);
        Ok(result)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.handler.supported_protocol_versions()
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.handler.accepted_subscription_filter(requested)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.handler.get_tool(name)
    }

    pass! {
        ping(context: Context) -> Result<(), ErrorData>;
        complete(request: CompleteRequestParams, context: Context)
            -> Result<CompleteResult, ErrorData>;
        set_level(request: SetLevelRequestParams, context: Context) -> Result<(), ErrorData>;
        list_prompts(request: Page, context: Context) -> Result<ListPromptsResult, ErrorData>;
        list_resources(request: Page, context: Context) -> Result<ListResourcesResult, ErrorData>;
        list_resource_templates(request: Page, context: Context)
            -> Result<ListResourceTemplatesResult, ErrorData>;
        list_tools(request: Page, context: Context) -> Result<ListToolsResult, ErrorData>;
        listen(context: SubscriptionContext) -> Result<(), ErrorData>;
        subscribe(request: SubscribeRequestParams, context: Context) -> Result<(), ErrorData>;
        unsubscribe(request: UnsubscribeRequestParams, context: Context)
            -> Result<(), ErrorData>;
        on_cancelled(notification: CancelledNotificationParam, context: Notice) -> ();
        on_progress(notification: ProgressNotificationParam, context: Notice) -> ();
        on_initialized(context: Notice) -> ();
        on_roots_list_changed(context: Notice) -> ();
        get_task(request: GetTaskParams, context: Context) -> Result<GetTaskResult, ErrorData>;
        update_task(request: UpdateTaskParams, context: Context) -> Result<(), ErrorData>;
        cancel_task(request: CancelTaskParams, context: Context) -> Result<(), ErrorData>;
        list_skills(request: Page, context: Context) -> Result<ListSkillsResult, ErrorData>;
        get_skill(request: GetSkillRequestParams, context: Context)
            -> Result<GetSkillResult, ErrorData>;
        read_resource_directory(request: ReadResourceDirectoryRequestParams, context: Context)
            -> Result<ReadResourceDirectoryResult, ErrorData>;
    }
}
