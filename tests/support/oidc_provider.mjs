// node-oidc-provider with one client, where anybody signs in under any name: its groups are what the name says after "@".
import { Provider } from "oidc-provider";

const [port, redirect, resource] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const groupsOf = (id) => (id.split("@")[1] ?? "").split("+").filter(Boolean);

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "transom-pages",
      client_secret: "secret of+the pages",
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
    },
    { client_id: "robot@staff", client_secret: "robots-secret", redirect_uris: [], response_types: [], grant_types: ["client_credentials"] },
  ],
  claims: { openid: ["sub"], profile: ["name"], groups: ["groups"] },
  scopes: ["openid", "profile", "groups", "api"],
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `Person ${id.split("@")[0]}`, groups: groupsOf(id) }) }),
  extraTokenClaims: (_, token) => ({ groups: groupsOf(token.clientId) }),
  pkce: { required: () => true },
  cookies: { keys: ["a key for tests"] },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => (ctx.oidc.params?.grant_type === "client_credentials" ? resource : undefined),
      getResourceServerInfo: () => ({ scope: "api", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } }),
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
