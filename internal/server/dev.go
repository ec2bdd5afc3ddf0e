package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// The demo world of dev mode.
const (
	demoApp             = "sample-app"
	demoSeller          = "seller"
	demoBuyer           = "buyer"
	demoPost            = "gZd7omnS"
	demoConversation    = "edbb9499-cccc-4d35-b21f-621fa95f2b3e"
	demoBotConversation = "6b3d5cf7-9291-4fa9-892a-9d07e300daea"
	demoRedirect        = "http://127.0.0.1:8000/oauth/callback"

	demoTokenTTL = 365 * 24 * time.Hour
	devSetting   = "dev_secrets"
	devFile      = "dev.json"
	devEnvFile   = "dev.env"
)

// DevOptions are dev mode's own options; what is empty stays as it was.
type DevOptions struct {
	EventURL          string
	InitURL           string
	ActionURL         string
	RedirectURI       string
	IdentificationKey string
}

// DevInfo is what dev mode writes to dev.json.
type DevInfo struct {
	BaseURL string  `json:"base_url"`
	HostKey string  `json:"host_key"`
	App     DevApp  `json:"app"`
	Users   DevPair `json:"users"`

	PostToken         string `json:"post_token"`
	ConversationID    string `json:"conversation_id"`
	BotConversationID string `json:"bot_conversation_id"`
}

// DevApp is the sample app with its secrets.
type DevApp struct {
	Slug              string `json:"slug"`
	APIKey            string `json:"api_key"`
	ClientSecret      string `json:"client_secret"`
	IdentificationKey string `json:"identification_key"`
	RedirectURI       string `json:"redirect_uri"`
}

// DevPair is the two people of the demo world.
type DevPair struct {
	Seller DevUser `json:"seller"`
	Buyer  DevUser `json:"buyer"`
}

// DevUser is one of them, with a token of the sample app.
type DevUser struct {
	ID          string `json:"id"`
	AppUserID   string `json:"app_user_id"`
	AccessToken string `json:"access_token"`
}

// forgetWorld removes what an earlier start wrote: it must not be taken for
// this start's.
func (s *Server) forgetWorld() error {
	for _, file := range []string{devFile, devEnvFile} {
		if err := os.Remove(filepath.Join(s.o.Data, file)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// makeWorld makes what is missing of the demo world and returns it.
func (s *Server) makeWorld(ctx context.Context) (info DevInfo, err error) {
	app, err := s.makeApp(ctx)
	if err != nil {
		return info, err
	}
	if err := s.makePeople(ctx); err != nil {
		return info, err
	}
	if info, err = s.devSecrets(ctx); err != nil {
		return info, err
	}
	info.BaseURL, info.HostKey = s.publicURL(), s.keys.list[0]
	info.PostToken, info.ConversationID, info.BotConversationID = demoPost, demoConversation, demoBotConversation
	info.App.Slug, info.App.IdentificationKey, info.App.RedirectURI = demoApp, app.IdentificationKey, app.RedirectURIs[0]
	return info, nil
}

// tell writes the demo world to dev.env and dev.json: everything is ready.
func (s *Server) tell(info DevInfo) error {
	content, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(filepath.Join(s.o.Data, devEnvFile), info.env()); err != nil {
		return err
	}
	return writePrivate(filepath.Join(s.o.Data, devFile), append(content, '\n'))
}

// env is what a shell needs of the demo world, to be read with ".".
func (i DevInfo) env() []byte {
	var b strings.Builder
	for _, v := range [][2]string{
		{"BASE_URL", i.BaseURL},
		{"HOST_KEY", i.HostKey},
		{"API_KEY", i.App.APIKey},
		{"CLIENT_ID", i.App.Slug},
		{"CLIENT_SECRET", i.App.ClientSecret},
		{"REDIRECT_URI", i.App.RedirectURI},
		{"IDENTIFICATION_KEY", i.App.IdentificationKey},
		{"SELLER_TOKEN", i.Users.Seller.AccessToken},
		{"BUYER_TOKEN", i.Users.Buyer.AccessToken},
		{"POST_TOKEN", i.PostToken},
		{"CONVERSATION_ID", i.ConversationID},
		{"BOT_CONVERSATION_ID", i.BotConversationID},
	} {
		b.WriteString("export " + v[0] + "='" + strings.ReplaceAll(v[1], "'", `'\''`) + "'\n")
	}
	return []byte(b.String())
}

// makeApp makes the sample app at the first start; later ones change only what
// an option names.
func (s *Server) makeApp(ctx context.Context) (access.App, error) {
	o := *s.o.Dev
	set := func(a *access.App) error {
		for _, f := range []struct {
			to    *string
			value string
		}{
			{&a.EventURL, o.EventURL},
			{&a.SessionInitializationURL, o.InitURL},
			{&a.DynamicActionURL, o.ActionURL},
			{&a.IdentificationKey, o.IdentificationKey},
		} {
			if f.value != "" {
				*f.to = f.value
			}
		}
		if o.RedirectURI != "" {
			a.RedirectURIs = []string{o.RedirectURI}
		}
		if len(a.RedirectURIs) == 0 {
			a.RedirectURIs = []string{demoRedirect}
		}
		return nil
	}
	app, err := s.access.UpdateApp(ctx, demoApp, set)
	if status.KindOf(err) != status.NotFound {
		return app, err
	}
	app = access.NewApp()
	app.Slug, app.Display, app.Subtitle = demoApp, "Sample app", "The app of the demo world"
	app.ServiceType, app.Permissions = "SAMPLE", access.Permissions()
	app.IdentificationKey = access.NewSecret("oki_")
	app.Touchpoints = []access.Touchpoint{{Touchpoint: "CHAT", Action: access.ServerLink}}
	for _, k := range access.Catalogue() {
		app.OAuthScopes = append(app.OAuthScopes, k.Name)
	}
	if err := set(&app); err != nil {
		return app, err
	}
	return s.access.CreateApp(ctx, app)
}

// makePeople makes the two people, their post and their conversations, unless
// they are there already: what was changed in the world stays changed.
func (s *Server) makePeople(ctx context.Context) error {
	for user, phone := range map[string]string{demoSeller: "09120000001", demoBuyer: "09120000002"} {
		if _, err := s.market.User(ctx, user); status.KindOf(err) == status.NotFound {
			if _, err := s.market.PutUser(ctx, market.User{ID: user, Phone: phone}); err != nil {
				return err
			}
		}
	}
	made, err := s.store.Setting(ctx, devSetting)
	if err != nil || made != "" {
		return err
	}
	if _, _, err := s.market.PutPost(ctx, market.Post{
		Token: demoPost, Owner: demoSeller, Title: "دوچرخه شهری", State: market.Published, Category: "bicycle",
		City: "tehran", District: "velenjak", ChatEnabled: true, ChatAssistant: true,
		FirstPublishedAt: wire.Time{Time: s.clock.Now().UTC().Truncate(time.Second)},
		Data:             wire.Object(`{"title":"دوچرخه شهری","price":85000000}`),
	}); err != nil {
		return err
	}
	for _, c := range []chat.Conversation{
		{ID: demoConversation, Type: chat.OnPost, PostToken: demoPost, Buyer: demoBuyer},
		{ID: demoBotConversation, Type: chat.WithBot, App: demoApp, User: demoSeller},
	} {
		if _, err := s.chat.PutConversation(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// devSecrets returns the sample app's secrets. They are kept, sealed, over a
// restart; one that died is replaced.
func (s *Server) devSecrets(ctx context.Context) (DevInfo, error) {
	var info DevInfo
	text, err := s.store.Setting(ctx, devSetting)
	if err != nil {
		return info, err
	}
	if text != "" {
		if info, err = s.unseal(text); err != nil {
			return info, err
		}
	}
	if _, err := s.access.Authenticate(ctx, info.App.APIKey); err != nil {
		if _, info.App.APIKey, err = s.access.CreateKey(ctx, demoApp, "dev", access.Permissions()); err != nil {
			return info, err
		}
	}
	if info.App.ClientSecret == "" {
		if info.App.ClientSecret, err = s.access.NewClientSecret(ctx, demoApp); err != nil {
			return info, err
		}
	}
	for user, u := range map[string]*DevUser{demoSeller: &info.Users.Seller, demoBuyer: &info.Users.Buyer} {
		u.ID, u.AppUserID = user, s.access.UserID(demoApp, user)
		if _, err := s.access.Token(ctx, demoApp, u.AccessToken); err != nil {
			if _, u.AccessToken, err = s.access.IssueToken(ctx, demoApp, user, demoScopes(), demoTokenTTL); err != nil {
				return info, err
			}
		}
	}
	sealed, err := s.seal(info)
	if err != nil {
		return info, err
	}
	return info, s.store.SetSetting(ctx, devSetting, sealed)
}

// demoScopes is every scope of the catalogue, those with an identifier for
// the demo post and both conversations.
func demoScopes() access.Scopes {
	var scopes access.Scopes
	for _, k := range access.Catalogue() {
		switch k.Resource {
		case access.NoResource:
			scopes = append(scopes, k.Name)
		case access.Post:
			scopes = append(scopes, k.Name+"."+demoPost)
		case access.Conversation:
			scopes = append(scopes, k.Name+"."+demoConversation, k.Name+"."+demoBotConversation)
		}
	}
	slices.Sort(scopes)
	return scopes
}

func (s *Server) seal(info DevInfo) (string, error) {
	b, err := json.Marshal(info)
	return base64.StdEncoding.EncodeToString(s.keyring.Seal(devSetting, b)), err
}

func (s *Server) unseal(text string) (info DevInfo, err error) {
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return info, fmt.Errorf("setting %s: %w", devSetting, err)
	}
	b, err := s.keyring.Open(devSetting, sealed)
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(b, &info)
}
