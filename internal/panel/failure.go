package panel

import (
	"context"

	"github.com/openkenar/openkenar/internal/status"
)

func failureTitle(ctx context.Context, kind status.Kind) string {
	switch kind {
	case status.NotFound:
		return t(ctx, "پیدا نشد", "Not found")
	case status.PermissionDenied, status.Unauthenticated:
		return t(ctx, "اجازه ندارید", "Not allowed")
	case status.ResourceExhausted:
		return t(ctx, "کمی صبر کنید", "Wait a little")
	case status.Internal, status.Unavailable:
		return t(ctx, "از سوی ما", "Our fault")
	case status.Invalid, status.MethodNotAllowed, status.Conflict, status.FailedPrecondition, status.TooLarge, status.UnsupportedMediaType:
	}
	return t(ctx, "انجام نشد", "That did not work")
}

// failureHelp says how to mend what went wrong.
func failureHelp(ctx context.Context, kind status.Kind) string {
	switch kind {
	case status.NotFound:
		return t(ctx, "شاید پاک شده یا نشانی اشتباه است، یا این برنامه از آن شما نیست.",
			"It may be gone, its address may be wrong, or it belongs to an app that is not yours.")
	case status.Internal:
		return t(ctx, "جزئیات در گزارش سرور نوشته شده است. دوباره تلاش کنید.", "The server's log has the details. Try again.")
	case status.Unavailable:
		return t(ctx, "چیزی تغییر نکرد. کمی بعد دوباره تلاش کنید.", "Nothing was changed. Try again in a moment.")
	case status.PermissionDenied, status.Unauthenticated, status.ResourceExhausted, status.Invalid, status.MethodNotAllowed,
		status.Conflict, status.FailedPrecondition, status.TooLarge, status.UnsupportedMediaType:
	}
	return t(ctx, "برگردید، آن را درست کنید و دوباره بفرستید.", "Go back, mend it and send it again.")
}
