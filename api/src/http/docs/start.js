// One document with a relative path, so that the page works behind any proxy and without other servers.

// The operations of each group in the order in which people use them. Operations that are not listed come after them.
const ORDER = [
  "register", "login", "refresh", "confirm_password", "logout", "logout_all",
  "list_sessions", "end_session", "end_other_sessions", "cookie_login", "cookie_logout",
  "read_me", "update_me", "cancel_pending_email", "cancel_previous_emails", "export_me", "delete_me",
  "request_verify_token", "verify_email", "forgot_password", "reset_password", "restore_email",
  "create_api_token", "list_api_tokens", "delete_api_token", "delete_api_tokens", "check_api_token",
  "introspect_token", "revoke_token", "read_jwks",
  "list_users", "read_user", "update_user", "delete_user", "export_user",
];
const PASSWORD_SCHEME = "OAuth2PasswordBearer";
// The key under which the tab keeps the access token over a reload. Swagger UI's own option would keep the password
// and the refresh token too, for every tab and without an end.
const KEPT = "tessera-docs";

function byOrder(one, other) {
  const [first, second] = [one, other].map((operation) => {
    const place = ORDER.indexOf(operation.getIn(["operation", "operationId"]));
    return place < 0 ? ORDER.length : place;
  });
  return first - second;
}

function keep({ access_token, token_type, expires_in }) {
  const until = Date.now() + expires_in * 1000;
  sessionStorage.setItem(KEPT, JSON.stringify({ token: { access_token, token_type }, until }));
}

function restore() {
  const { token, until } = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  if (token && Date.now() < until) {
    const schema = window.ui.specSelectors.specJson().getIn(["components", "securitySchemes", PASSWORD_SCHEME]);
    window.ui.authActions.authorizeOauth2({ auth: { schema: schema.toJS(), name: PASSWORD_SCHEME }, token });
  } else {
    sessionStorage.removeItem(KEPT);
  }
}

// The password form comes first in the dialog. A browser sends the cookie by itself, and does not let a page set it.
function inOrder(definitions) {
  const shown = definitions?.map((schemes) => schemes.delete("Cookie")).filter((schemes) => schemes.size);
  return shown?.sortBy((schemes) => (schemes.has(PASSWORD_SCHEME) ? 0 : 1));
}
const ordered = (original) => (...input) => {
  const found = original(...input);
  return typeof found === "function" ? (...more) => inOrder(found(...more)) : inOrder(found);
};

// Each refusal is one line until it is opened, so that an operation fits on a screen.
function foldedResponse(Original, { React }) {
  return function Response(properties) {
    const [isOpen, open] = React.useState(String(properties.code).startsWith("2"));
    if (isOpen) return React.createElement(Original, properties);
    const text = properties.response.get("description") ?? "";
    const codes = [...text.matchAll(/^\* `(.+?)`:/gm)].map(([, code]) => code);
    const label = `▸ ${properties.code} ${codes.join(", ") || text}`;
    const button = React.createElement("button", { type: "button", "aria-expanded": false, onClick: () => open(true) }, label);
    const cell = React.createElement("td", { colSpan: 3 }, button);
    return React.createElement("tr", { className: "response folded", "data-code": properties.code }, cell);
  };
}

function tessera() {
  return {
    wrapComponents: { response: foldedResponse },
    statePlugins: {
      auth: {
        wrapSelectors: { definitionsToAuthorize: ordered, getDefinitionsByNames: ordered },
        wrapActions: {
          // Swagger UI moves the focus to the last form of the dialog.
          showDefinitions: (original) => (definitions) => {
            requestAnimationFrame(() => document.querySelector("#oauth_username")?.focus());
            return original(definitions);
          },
          authorizeOauth2: (original) => (payload) => {
            if (payload.token.expires_in) keep(payload.token);
            return original(payload);
          },
          logout: (original) => (names) => {
            if (names.includes(PASSWORD_SCHEME)) sessionStorage.removeItem(KEPT);
            return original(names);
          },
        },
      },
    },
  };
}

window.ui = SwaggerUIBundle({
  dom_id: "#ui",
  url: "openapi.json",
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  onComplete: restore,
  operationsSorter: byOrder,
  plugins: [tessera],
  tryItOutEnabled: true,
  validatorUrl: null,
});
