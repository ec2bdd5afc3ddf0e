package kenar

import "encoding/json"

// Action is what a button does. Make one with OpenDirectLink, OpenServerLink,
// GetDynamicAction, OpenPostPage or OpenPostManagePage.
type Action struct {
	DirectLink     string      `json:"open_direct_link,omitempty"`
	ServerLink     *ActionData `json:"open_server_link,omitempty"`
	DynamicAction  *ActionData `json:"get_dynamic_action,omitempty"`
	PostPage       *ActionPost `json:"open_post_page,omitempty"`
	PostManagePage *ActionPost `json:"open_post_manage_page,omitempty"`
}

// ActionData is what an app gets back when its button is clicked.
type ActionData struct {
	Data json.RawMessage `json:"data"`
}

// ActionPost names a post.
type ActionPost struct {
	PostToken string `json:"post_token"`
}

// Button is a button below a message.
type Button struct {
	Action  Action `json:"action"`
	Caption string `json:"caption"`
	Icon    string `json:"icon,omitempty"`
}

// Row is a row of buttons.
type Row struct {
	Buttons []Button `json:"buttons"`
}

// Keyboard is the buttons below a message: at most three rows of three.
type Keyboard struct {
	Rows []Row `json:"rows"`
}

// NotificationButton is a button below a notification.
type NotificationButton struct {
	Title  string `json:"title"` // 5 to 50 characters
	Action Action `json:"action"`
}
